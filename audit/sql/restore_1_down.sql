DROP FUNCTION audit.track_table(regclass, text, name, text, text);
ALTER FUNCTION audit.record_table_1(regclass, text, name, text, text) RENAME TO track_table;
DROP FUNCTION audit.let_restore_1(regclass, name);
DO $$
DECLARE
    target regclass;
BEGIN
    FOR target IN SELECT polrelid FROM pg_policy WHERE polname = 'restorer' LOOP
        EXECUTE format('DROP POLICY restorer ON %s', target);
        EXECUTE format('REVOKE ALL ON %s FROM fastlane_restorer', target);
    END LOOP;
END
$$;
DROP FUNCTION audit.restore_row_1(regclass, uuid, integer);
DROP FUNCTION audit.taken_along_1(regclass, jsonb, timestamptz, bigint);
DROP FUNCTION audit.typed_1(anyelement, jsonb);
DROP FUNCTION audit.versions_1(regclass, uuid);
DROP FUNCTION audit.entity_of_1(regclass);
REVOKE USAGE ON SCHEMA audit FROM fastlane_tenant;
