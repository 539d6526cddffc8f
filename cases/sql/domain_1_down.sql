DROP TRIGGER e_keep_creator ON users;
SELECT tenancy.release_table(name::regclass)
  FROM unnest(ARRAY['ingestions', 'cases', 'case_codes', 'tasks', 'rulesets']) AS name;
DROP INDEX case_codes_code_type_code_idx, ingestions_tenant_id_created_at_id_idx, cases_tenant_id_created_at_id_idx,
    cases_tenant_id_status_created_at_id_idx, cases_tenant_id_member_id_hash_idx, cases_tenant_id_ingestion_id_idx,
    cases_tenant_id_created_by_idx, case_codes_tenant_id_case_id_idx, case_codes_tenant_id_created_at_id_idx,
    tasks_tenant_id_case_id_idx, tasks_tenant_id_assigned_to_status_idx, tasks_tenant_id_status_due_date_idx,
    tasks_tenant_id_created_at_id_idx, rulesets_tenant_id_payer_procedure_idx,
    rulesets_tenant_id_created_at_id_idx;
ALTER TABLE tasks DROP CONSTRAINT tasks_case_id_fkey, DROP CONSTRAINT tasks_assigned_to_fkey,
    DROP CONSTRAINT tasks_status_check, DROP CONSTRAINT tasks_priority_check;
ALTER TABLE case_codes DROP CONSTRAINT case_codes_case_id_fkey, DROP CONSTRAINT case_codes_code_type_check;
ALTER TABLE cases DROP CONSTRAINT cases_ingestion_id_fkey, DROP CONSTRAINT cases_created_by_fkey,
    DROP CONSTRAINT cases_tenant_id_id_key, DROP CONSTRAINT cases_status_check, DROP CONSTRAINT cases_priority_check,
    DROP CONSTRAINT cases_diagnosis_codes_check, DROP CONSTRAINT cases_confidence_json_check,
    DROP CONSTRAINT cases_extracted_data_check, DROP CONSTRAINT cases_metadata_json_check;
ALTER TABLE ingestions DROP CONSTRAINT ingestions_tenant_id_id_key, DROP CONSTRAINT ingestions_source_type_check,
    DROP CONSTRAINT ingestions_status_check, DROP CONSTRAINT ingestions_source_metadata_check;
ALTER TABLE rulesets DROP CONSTRAINT rulesets_rules_json_check;
-- See the way forwards: the checks of the keys below need to see the users.
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE cases
    ADD CONSTRAINT cases_ingestion_id_fkey FOREIGN KEY (ingestion_id) REFERENCES ingestions (id)
        ON DELETE SET NULL ON UPDATE CASCADE,
    ADD CONSTRAINT cases_created_by_fkey FOREIGN KEY (created_by) REFERENCES users (id)
        ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE case_codes ADD CONSTRAINT case_codes_case_id_fkey FOREIGN KEY (case_id) REFERENCES cases (id)
    ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE tasks
    ADD CONSTRAINT tasks_case_id_fkey FOREIGN KEY (case_id) REFERENCES cases (id) ON DELETE CASCADE ON UPDATE CASCADE,
    ADD CONSTRAINT tasks_assigned_to_fkey FOREIGN KEY (assigned_to) REFERENCES users (id)
        ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
DROP FUNCTION cases.follow_case_1(), cases.guard_case_1(), cases.keep_creator_1(), cases.tell_events_1();
DROP SCHEMA cases;
