-- Keys, closed sets and the trail of what a case means. Frozen: the migration that names this file has landed.

ALTER TABLE cases
    ADD CONSTRAINT cases_follow_up_check CHECK (follow_up IN ('resubmission', 'appeal')),
    ADD CONSTRAINT cases_unknown_codes_check CHECK (array_position(unknown_codes, NULL) IS NULL),
    ADD CONSTRAINT cases_paused_seconds_check CHECK (paused_seconds >= 0),
    ADD CONSTRAINT cases_approved_units_check CHECK (approved_units > 0);
ALTER TABLE tasks
    ADD CONSTRAINT tasks_requirement_kind_check CHECK (requirement_kind IN ('requirement', 'document'));
ALTER TABLE known_codes
    ALTER COLUMN system DROP DEFAULT,
    ALTER COLUMN code DROP DEFAULT,
    ADD CONSTRAINT known_codes_system_check CHECK (system IN ('CPT', 'HCPCS', 'ICD-10-CM'));

-- Composite: no case and no task can point into another tenant, whoever writes it. The check of a new key is a query of
-- the owner, whom FORCE blinds.
ALTER TABLE rulesets ADD CONSTRAINT rulesets_tenant_id_id_key UNIQUE (tenant_id, id);
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE cases NO FORCE ROW LEVEL SECURITY;
ALTER TABLE rulesets NO FORCE ROW LEVEL SECURITY;
ALTER TABLE cases
    DROP CONSTRAINT cases_previous_case_id_fkey, DROP CONSTRAINT cases_due_ruleset_id_fkey, DROP CONSTRAINT cases_decided_by_fkey;
ALTER TABLE cases
    ADD CONSTRAINT cases_previous_case_id_fkey FOREIGN KEY (tenant_id, previous_case_id)
        REFERENCES cases (tenant_id, id) ON DELETE SET NULL (previous_case_id) ON UPDATE CASCADE,
    ADD CONSTRAINT cases_due_ruleset_id_fkey FOREIGN KEY (tenant_id, due_ruleset_id)
        REFERENCES rulesets (tenant_id, id) ON DELETE SET NULL (due_ruleset_id) ON UPDATE CASCADE,
    ADD CONSTRAINT cases_decided_by_fkey FOREIGN KEY (tenant_id, decided_by)
        REFERENCES users (tenant_id, id) ON DELETE SET NULL (decided_by) ON UPDATE CASCADE;
ALTER TABLE tasks DROP CONSTRAINT tasks_ruleset_id_fkey;
ALTER TABLE tasks ADD CONSTRAINT tasks_ruleset_id_fkey FOREIGN KEY (tenant_id, ruleset_id)
    REFERENCES rulesets (tenant_id, id) ON DELETE SET NULL (ruleset_id) ON UPDATE CASCADE;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
ALTER TABLE cases FORCE ROW LEVEL SECURITY;
ALTER TABLE rulesets FORCE ROW LEVEL SECURITY;

-- What the keys need when the row they refer to is deleted.
CREATE INDEX cases_tenant_id_previous_case_id_idx ON cases (tenant_id, previous_case_id) WHERE previous_case_id IS NOT NULL;
CREATE INDEX cases_tenant_id_due_ruleset_id_idx ON cases (tenant_id, due_ruleset_id) WHERE due_ruleset_id IS NOT NULL;
CREATE INDEX cases_tenant_id_decided_by_idx ON cases (tenant_id, decided_by) WHERE decided_by IS NOT NULL;
CREATE INDEX tasks_tenant_id_ruleset_id_idx ON tasks (tenant_id, ruleset_id) WHERE ruleset_id IS NOT NULL;

SELECT tenancy.isolate_table('known_codes');
SELECT audit.track_table('cases', 'case');
SELECT audit.track_table('case_codes', 'case_code');
SELECT audit.track_table('tasks', 'task');
SELECT audit.track_table('rulesets', 'ruleset');
