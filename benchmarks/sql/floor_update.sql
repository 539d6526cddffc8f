-- $1 tenant, $2 user, $3 the case, $4 its new status, $5 address, $6 agent, $7 request id.
WITH before AS (
    SELECT id, status, updated_at FROM cases WHERE id = $3 FOR NO KEY UPDATE
), made AS (
    UPDATE cases SET status = $4, updated_at = now() FROM before WHERE cases.id = before.id
    RETURNING cases.id, tenant_id, ingestion_id, created_by, member_id_hash, payer, cases.status, priority,
              diagnosis_codes, confidence_json, extracted_data, metadata_json, unknown_codes, previous_case_id,
           follow_up, submitted_at, decision_due_at, due_ruleset_id, due_ruleset_version, extended_until, extension_reason,
           paused_at, paused_seconds, decided_at, decided_by, denial_reason, authorization_number, valid_from, valid_until,
           approved_units, created_at, cases.updated_at
), event AS (
    INSERT INTO events (tenant_id, user_id, event_type, entity_type, entity_id, metadata)
    SELECT $1, $2, 'case_status_changed', 'case', made.id, jsonb_build_object('from', before.status, 'to', made.status)
      FROM made, before
    RETURNING *
), trail AS (
    INSERT INTO audit_logs (tenant_id, user_id, action, entity_type, entity_id, changes, ip_address, user_agent, actor, request_id)
    SELECT $1, $2, action, entity, id, changes, $5, $6, 'user:' || $2, $7
      FROM (SELECT 'update' AS action, 'case' AS entity, made.id, jsonb_build_object(
                       'before', jsonb_build_object('status', before.status, 'updated_at', before.updated_at),
                       'after', jsonb_build_object('status', made.status, 'updated_at', made.updated_at)) AS changes
              FROM made, before
            UNION ALL
            SELECT 'create', 'event', id, jsonb_build_object('before', '{}'::jsonb, 'after', to_jsonb(event)) FROM event) AS changed
)
SELECT row_to_json(made)::text FROM made
