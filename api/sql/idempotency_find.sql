SELECT id, fingerprint, status, headers, body, created_at <= now() - $4::interval AS is_expired
  FROM idempotency_keys
 WHERE tenant_id = $1 AND user_id = $2 AND key = $3
