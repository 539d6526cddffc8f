-- The column `search` is written by a trigger, when its sources change. As a generated column it was computed again
-- at every update, since PostgreSQL cannot know what the triggers before it did: three quarters of the time that a
-- new status took. Frozen: the migration that names this file has landed.
-- https://www.postgresql.org/docs/current/ddl-generated-columns.html

ALTER TABLE cases ALTER COLUMN search DROP EXPRESSION;
ALTER TABLE tasks ALTER COLUMN search DROP EXPRESSION;
ALTER TABLE rulesets ALTER COLUMN search DROP EXPRESSION;

-- An update that touches neither the sources nor the column does not call these: see the triggers below.
CREATE FUNCTION cases.search_of_case_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.payer, NEW.diagnosis_codes, NEW.extracted_data, NEW.metadata_json)
           IS NOT DISTINCT FROM (OLD.payer, OLD.diagnosis_codes, OLD.extracted_data, OLD.metadata_json) THEN
            NEW.search := OLD.search;
            RETURN NEW;
        END IF;
    END IF;
    NEW.search := cases.lexemes_1(NEW.payer, 255, 'A')
        || cases.lexemes_1(cases.codes_1(NEW.diagnosis_codes), 20000, 'A')
        || cases.lexemes_1(cases.strings_1(NEW.extracted_data), 80000, 'C')
        || cases.lexemes_1(cases.strings_1(NEW.metadata_json), 20000, 'C');
    RETURN NEW;
END
$$;
CREATE FUNCTION cases.search_of_task_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.title, NEW.description) IS NOT DISTINCT FROM (OLD.title, OLD.description) THEN
            NEW.search := OLD.search;
            RETURN NEW;
        END IF;
    END IF;
    NEW.search := cases.lexemes_1(NEW.title, 255, 'A') || cases.lexemes_1(NEW.description, 100000, 'B');
    RETURN NEW;
END
$$;
CREATE FUNCTION cases.search_of_ruleset_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.payer, NEW.procedure, NEW.rules_json) IS NOT DISTINCT FROM (OLD.payer, OLD.procedure, OLD.rules_json) THEN
            NEW.search := OLD.search;
            RETURN NEW;
        END IF;
    END IF;
    NEW.search := cases.lexemes_1(NEW.payer, 255, 'A')
        || cases.lexemes_1(NEW.procedure, 255, 'A')
        || cases.lexemes_1(cases.strings_1(NEW.rules_json), 100000, 'C');
    RETURN NEW;
END
$$;
-- They look their functions up as whoever writes the row.
GRANT USAGE ON SCHEMA cases TO fastlane_platform;

-- Before d_stamp_updated, which asks whether anything changed.
CREATE TRIGGER c_search BEFORE INSERT OR UPDATE OF payer, diagnosis_codes, extracted_data, metadata_json, search ON cases
    FOR EACH ROW EXECUTE FUNCTION cases.search_of_case_1();
CREATE TRIGGER c_search BEFORE INSERT OR UPDATE OF title, description, search ON tasks
    FOR EACH ROW EXECUTE FUNCTION cases.search_of_task_1();
CREATE TRIGGER c_search BEFORE INSERT OR UPDATE OF payer, procedure, rules_json, search ON rulesets
    FOR EACH ROW EXECUTE FUNCTION cases.search_of_ruleset_1();

CREATE OR REPLACE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON cases
    FOR EACH ROW EXECUTE FUNCTION tenancy.stamp_updated_1();
CREATE OR REPLACE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON tasks
    FOR EACH ROW EXECUTE FUNCTION tenancy.stamp_updated_1();
CREATE OR REPLACE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON rulesets
    FOR EACH ROW EXECUTE FUNCTION tenancy.stamp_updated_1();
DROP FUNCTION cases.stamp_updated_1();

COMMENT ON COLUMN cases.search IS
    'Of full-text search, kept by a trigger: payer, diagnosis codes, and the first 80,000 and 20,000 characters of the strings in both documents.';
COMMENT ON COLUMN tasks.search IS
    'Of full-text search, kept by a trigger: title, and the first 100,000 characters of the description.';
COMMENT ON COLUMN rulesets.search IS
    'Of full-text search, kept by a trigger: payer, procedure, and the first 100,000 characters of the strings in the rules.';
