-- Generated columns again: the functions that search depend on them by name only, the indexes go with the columns.
DROP TRIGGER c_search ON cases;
DROP TRIGGER c_search ON tasks;
DROP TRIGGER c_search ON rulesets;
DROP FUNCTION cases.search_of_case_1(), cases.search_of_task_1(), cases.search_of_ruleset_1();
REVOKE USAGE ON SCHEMA cases FROM fastlane_platform;

ALTER TABLE cases DROP COLUMN search;
ALTER TABLE tasks DROP COLUMN search;
ALTER TABLE rulesets DROP COLUMN search;
ALTER TABLE cases ADD COLUMN search tsvector GENERATED ALWAYS AS (
    cases.lexemes_1(payer, 255, 'A')
    || cases.lexemes_1(cases.codes_1(diagnosis_codes), 20000, 'A')
    || cases.lexemes_1(cases.strings_1(extracted_data), 80000, 'C')
    || cases.lexemes_1(cases.strings_1(metadata_json), 20000, 'C')
) STORED;
ALTER TABLE tasks ADD COLUMN search tsvector GENERATED ALWAYS AS (
    cases.lexemes_1(title, 255, 'A')
    || cases.lexemes_1(description, 100000, 'B')
) STORED;
ALTER TABLE rulesets ADD COLUMN search tsvector GENERATED ALWAYS AS (
    cases.lexemes_1(payer, 255, 'A')
    || cases.lexemes_1(procedure, 255, 'A')
    || cases.lexemes_1(cases.strings_1(rules_json), 100000, 'C')
) STORED;
COMMENT ON COLUMN cases.search IS
    'Of full-text search: payer, diagnosis codes, and the first 80,000 and 20,000 characters of the strings in both documents.';
COMMENT ON COLUMN tasks.search IS 'Of full-text search: title, and the first 100,000 characters of the description.';
COMMENT ON COLUMN rulesets.search IS
    'Of full-text search: payer, procedure, and the first 100,000 characters of the strings in the rules.';

CREATE INDEX cases_tenant_id_search_idx ON cases USING gin (tenant_id, search) WITH (fastupdate = off);
CREATE INDEX tasks_tenant_id_search_idx ON tasks USING gin (tenant_id, search) WITH (fastupdate = off);
CREATE INDEX rulesets_tenant_id_search_idx ON rulesets USING gin (tenant_id, search) WITH (fastupdate = off);

GRANT SELECT (search) ON cases, tasks, rulesets TO fastlane_search;

CREATE FUNCTION cases.stamp_updated_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.updated_at IS NULL OR current_user = 'fastlane_tenant' THEN
            NEW.updated_at := now();
        END IF;
        RETURN NEW;
    END IF;
    NEW.search := OLD.search;
    NEW.updated_at := OLD.updated_at;
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON cases
    FOR EACH ROW EXECUTE FUNCTION cases.stamp_updated_1();
CREATE OR REPLACE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON tasks
    FOR EACH ROW EXECUTE FUNCTION cases.stamp_updated_1();
CREATE OR REPLACE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON rulesets
    FOR EACH ROW EXECUTE FUNCTION cases.stamp_updated_1();
