-- ARRAY(…) chooses once: what a plan joins, it may choose again, and so pass the limit.
DELETE FROM idempotency_keys
 WHERE id = ANY (ARRAY(
        SELECT id FROM idempotency_keys
         WHERE tenant_id = $1 AND created_at <= now() - $2::interval
         ORDER BY created_at
         LIMIT $3
           FOR UPDATE SKIP LOCKED))
