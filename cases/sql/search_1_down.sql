-- The role stays: other databases of the cluster may use it.
DROP FUNCTION cases.search_cases_1(text), cases.search_tasks_1(text), cases.search_rulesets_1(text),
    cases.query_1(text);
DROP POLICY search ON cases;
DROP POLICY search ON tasks;
DROP POLICY search ON rulesets;
REVOKE SELECT (id, tenant_id, search) ON cases, tasks, rulesets FROM fastlane_search;
REVOKE USAGE ON SCHEMA cases FROM fastlane_search, fastlane_tenant;

CREATE OR REPLACE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON cases
    FOR EACH ROW EXECUTE FUNCTION tenancy.stamp_updated_1();
CREATE OR REPLACE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON tasks
    FOR EACH ROW EXECUTE FUNCTION tenancy.stamp_updated_1();
CREATE OR REPLACE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON rulesets
    FOR EACH ROW EXECUTE FUNCTION tenancy.stamp_updated_1();
DROP FUNCTION cases.stamp_updated_1();

-- The indexes go with the columns.
ALTER TABLE cases DROP COLUMN search;
ALTER TABLE tasks DROP COLUMN search;
ALTER TABLE rulesets DROP COLUMN search;
DROP FUNCTION cases.lexemes_1(text, integer, "char"), cases.strings_1(jsonb), cases.codes_1(varchar[]),
    cases.fold_codes_1(text);

-- No CASCADE, and only the one that the way forwards made: another schema's was there before.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension
                WHERE extname = 'btree_gin' AND extnamespace = 'cases'::regnamespace) THEN
        DROP EXTENSION btree_gin;
    END IF;
END
$$;
