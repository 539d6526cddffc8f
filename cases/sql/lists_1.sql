-- The lists that no index of one tenant served: the planner took the seed's single-column index, and with it the
-- rows of all tenants. Frozen: the migration that names this file has landed.

-- By status, newest first, and its total: what waits, what failed.
CREATE INDEX ingestions_tenant_id_status_created_at_id_idx ON ingestions (tenant_id, status, created_at DESC, id);
-- By payer, newest first. Payers are no closed set: the newest cases may hold none of a rare one.
CREATE INDEX cases_tenant_id_payer_created_at_id_idx ON cases (tenant_id, payer, created_at DESC, id);
-- Which cases ask for a procedure. Equal entries are stored once, so without what would order them.
CREATE INDEX case_codes_tenant_id_code_idx ON case_codes (tenant_id, code);
-- By due date, whatever the status, or with several of them.
CREATE INDEX tasks_tenant_id_due_date_id_idx ON tasks (tenant_id, due_date, id);
-- By procedure alone, whoever pays.
CREATE INDEX rulesets_tenant_id_procedure_idx ON rulesets (tenant_id, procedure);
