-- The case with its codes and tasks, and the view of it on the trail.
-- $1 tenant, $2 user, $3 the case, $4 address, $5 agent, $6 request id.
WITH found AS (
    SELECT id, tenant_id, ingestion_id, created_by, member_id_hash, payer, status, priority, diagnosis_codes,
           confidence_json, extracted_data, metadata_json, unknown_codes, previous_case_id,
           follow_up, submitted_at, decision_due_at, due_ruleset_id, due_ruleset_version, extended_until, extension_reason,
           paused_at, paused_seconds, decided_at, decided_by, denial_reason, authorization_number, valid_from, valid_until,
           approved_units, created_at, updated_at,
           (SELECT coalesce(json_agg(k), '[]') FROM (
               SELECT id, tenant_id, case_id, code_type, code, description, confidence, is_known, created_at
                 FROM case_codes WHERE case_id = cases.id AND tenant_id = cases.tenant_id ORDER BY created_at DESC, id) AS k
           ) AS codes,
           (SELECT coalesce(json_agg(k), '[]') FROM (
               SELECT id, tenant_id, case_id, assigned_to, title, description, status, priority, due_date, completed_at,
                      ruleset_id, ruleset_version, requirement_kind, requirement, created_at, updated_at
                 FROM tasks WHERE case_id = cases.id AND tenant_id = cases.tenant_id ORDER BY created_at DESC, id) AS k
           ) AS tasks
      FROM cases WHERE id = $3
), viewed AS (
    INSERT INTO audit_logs (tenant_id, user_id, action, entity_type, entity_id, ip_address, user_agent, actor, request_id)
    SELECT $1::uuid, $2::uuid, 'view', 'case', id, $4, $5, 'user:' || $2, $6 FROM found
)
SELECT row_to_json(found)::text FROM found
