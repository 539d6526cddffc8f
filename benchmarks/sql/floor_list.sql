-- The page, and the look at it in the log.
-- $1 tenant, $2 user, $3 the status, $4 address, $5 agent, $6 request id.
WITH page AS (
    SELECT id, tenant_id, ingestion_id, created_by, member_id_hash, payer, status, priority, diagnosis_codes,
           confidence_json, extracted_data, metadata_json, unknown_codes, previous_case_id,
           follow_up, submitted_at, decision_due_at, due_ruleset_id, due_ruleset_version, extended_until, extension_reason,
           paused_at, paused_seconds, decided_at, decided_by, denial_reason, authorization_number, valid_from, valid_until,
           approved_units, created_at, updated_at
      FROM cases WHERE status = $3::varchar ORDER BY created_at DESC, id LIMIT 20
), looked AS (
    INSERT INTO access_logs (tenant_id, user_id, actor, access, method, path, filter, row_count, status, ip_address,
                             user_agent, request_id)
    SELECT $1::uuid, $2::uuid, 'user:' || $2, 'list', 'GET', '/api/cases/', 'status=' || $3::varchar, (SELECT count(*) FROM page), 200,
           $4, $5, $6
)
SELECT '{"rows":' || coalesce(json_agg(page), '[]')::text FROM page
