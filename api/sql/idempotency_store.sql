INSERT INTO idempotency_keys (tenant_id, user_id, key, fingerprint, status, headers, body)
VALUES ($1, $2, $3, $4, $5, $6, $7)
