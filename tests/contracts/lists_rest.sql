-- What benchmarks/sql/load_cases.sql leaves out, as far as lists are planned by it. Statements that need no other.

-- Its eight payers and two codes are fewer than a clinic has. The planner is told of more payers; codes are added.
ALTER TABLE cases ALTER COLUMN payer SET (n_distinct = 60);

INSERT INTO case_codes (tenant_id, case_id, code_type, code, created_at)
SELECT tenant_id, id, 'CPT', (70000 + abs(hashtext(id::text)) % 500)::text, created_at + interval '3 seconds'
  FROM cases WHERE EXISTS (SELECT FROM case_codes WHERE case_id = cases.id);

INSERT INTO users (id, tenant_id, email, name, role, created_at)
SELECT md5('person' || slug || n)::uuid, id, 'person-' || n || '@' || slug || '.example', 'Synthetic Person',
       (ARRAY['admin', 'clinician', 'staff'])[1 + n % 3], now() - n * interval '1 day'
  FROM tenants, generate_series(1, 99) AS n;

-- As wide as what an email says of itself.
INSERT INTO ingestions (tenant_id, source_type, source_metadata, storage_path, status, error_message, created_at)
SELECT id, 'email',
       jsonb_build_object(
           'message_id', repeat(md5(slug || n), 2), 'mailbox', 'intake@' || slug || '.example',
           'subject', 'Synthetic request for prior authorization, number ' || n,
           'attachments', jsonb_build_array('notes.pdf', 'imaging.pdf', 'therapy.pdf'),
           'digests', jsonb_build_array(md5('a' || n), md5('b' || n), md5('c' || n)),
           'checks', jsonb_build_object('signature', true, 'virus', false, 'duplicate', false)),
       slug || '/2026/' || md5(slug || n) || '/message.eml',
       (ARRAY['completed', 'completed', 'completed', 'failed', 'pending', 'processing'])[1 + n % 6],
       CASE n % 6 WHEN 3 THEN 'The attachment could not be read.' END,
       now() - n * interval '1 hour'
  FROM tenants, generate_series(1, 800) AS n;

-- In no order: each clinic writes its own when it needs them.
INSERT INTO rulesets (tenant_id, payer, procedure, rules_json, is_active, created_at)
SELECT id, 'Payer ' || n % 20, (72000 + n / 2)::text, '{"documents": ["notes", "imaging"]}', n % 5 > 0,
       now() - n * interval '1 day'
  FROM tenants, generate_series(1, 400) AS n ORDER BY md5(slug || n);

-- What the triggers would have told, which rest meanwhile.
INSERT INTO events (tenant_id, user_id, event_type, entity_type, entity_id, metadata, created_at)
SELECT tenant_id, created_by, CASE status WHEN 'pending' THEN 'case_created' ELSE 'case_status_changed' END, 'case', id,
       jsonb_build_object('status', status, 'priority', priority, 'payer', payer), created_at
  FROM cases;

INSERT INTO audit_logs (tenant_id, user_id, action, entity_type, entity_id, changes, actor, created_at)
SELECT tenant_id, created_by, CASE status WHEN 'pending' THEN 'create' ELSE 'update' END, 'case', id,
       jsonb_build_object('before', jsonb_build_object('status', 'pending'),
                          'after', jsonb_build_object('status', status)), 'user:' || created_by, created_at
  FROM cases
