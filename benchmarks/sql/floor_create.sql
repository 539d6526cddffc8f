-- The case, its event, and the trail of both: the rows that ours has by trigger.
-- $1 tenant, $2 user, $3 to $8 the case, $9 address, $10 agent, $11 request id.
WITH made AS (
    INSERT INTO cases (tenant_id, created_by, status, member_id_hash, payer, priority, diagnosis_codes, confidence_json, extracted_data, submitted_at, decision_due_at)
    VALUES ($1, $2, 'pending', $3, $4, $5, $6, $7, $8, now(), now() + CASE $5 WHEN 'urgent' THEN interval '72 hours' ELSE interval '168 hours' END)
    RETURNING id, tenant_id, ingestion_id, created_by, member_id_hash, payer, status, priority, diagnosis_codes,
              confidence_json, extracted_data, metadata_json, unknown_codes, previous_case_id,
           follow_up, submitted_at, decision_due_at, due_ruleset_id, due_ruleset_version, extended_until, extension_reason,
           paused_at, paused_seconds, decided_at, decided_by, denial_reason, authorization_number, valid_from, valid_until,
           approved_units, created_at, updated_at
), event AS (
    INSERT INTO events (tenant_id, user_id, event_type, entity_type, entity_id, metadata)
    SELECT $1, $2, 'case_created', 'case', id,
           jsonb_build_object('status', status, 'priority', priority, 'payer', payer) FROM made
    RETURNING *
), trail AS (
    INSERT INTO audit_logs (tenant_id, user_id, action, entity_type, entity_id, changes, ip_address, user_agent, actor, request_id)
    SELECT $1, $2, 'create', entity, id, jsonb_build_object('before', '{}'::jsonb, 'after', row), $9, $10, 'user:' || $2, $11
      FROM (SELECT 'case' AS entity, id, to_jsonb(made) AS row FROM made
            UNION ALL SELECT 'event', id, to_jsonb(event) FROM event) AS changed
)
SELECT row_to_json(made)::text FROM made
