SELECT tenancy.release_table('known_codes');
DROP INDEX cases_tenant_id_previous_case_id_idx, cases_tenant_id_due_ruleset_id_idx, cases_tenant_id_decided_by_idx,
    tasks_tenant_id_ruleset_id_idx;
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE cases NO FORCE ROW LEVEL SECURITY;
ALTER TABLE rulesets NO FORCE ROW LEVEL SECURITY;
ALTER TABLE cases
    DROP CONSTRAINT cases_previous_case_id_fkey, DROP CONSTRAINT cases_due_ruleset_id_fkey, DROP CONSTRAINT cases_decided_by_fkey;
ALTER TABLE cases
    ADD CONSTRAINT cases_previous_case_id_fkey FOREIGN KEY (previous_case_id) REFERENCES cases (id)
        ON DELETE SET NULL ON UPDATE CASCADE,
    ADD CONSTRAINT cases_due_ruleset_id_fkey FOREIGN KEY (due_ruleset_id) REFERENCES rulesets (id)
        ON DELETE SET NULL ON UPDATE CASCADE,
    ADD CONSTRAINT cases_decided_by_fkey FOREIGN KEY (decided_by) REFERENCES users (id)
        ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE tasks DROP CONSTRAINT tasks_ruleset_id_fkey;
ALTER TABLE tasks ADD CONSTRAINT tasks_ruleset_id_fkey FOREIGN KEY (ruleset_id) REFERENCES rulesets (id)
    ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
ALTER TABLE cases FORCE ROW LEVEL SECURITY;
ALTER TABLE rulesets FORCE ROW LEVEL SECURITY;
ALTER TABLE rulesets DROP CONSTRAINT rulesets_tenant_id_id_key;
ALTER TABLE known_codes DROP CONSTRAINT known_codes_system_check;
ALTER TABLE known_codes ALTER COLUMN system SET DEFAULT '', ALTER COLUMN code SET DEFAULT '';
ALTER TABLE tasks DROP CONSTRAINT tasks_requirement_kind_check;
ALTER TABLE cases
    DROP CONSTRAINT cases_follow_up_check, DROP CONSTRAINT cases_unknown_codes_check,
    DROP CONSTRAINT cases_paused_seconds_check, DROP CONSTRAINT cases_approved_units_check;
