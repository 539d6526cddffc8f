DROP POLICY keeper_records ON platform_logs;
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT polname, polrelid::regclass AS target FROM pg_policy
                 WHERE polname IN ('keeper', 'keeper_archives', 'keeper_redacts') LOOP
        EXECUTE format('DROP POLICY %I ON %s', item.polname, item.target);
    END LOOP;
END
$$;
REVOKE ALL ON tenants, events, audit_logs, access_logs, platform_logs, checkpoints, checkpoint_parts FROM fastlane_keeper;
REVOKE SELECT (id, slug) ON tenants FROM fastlane_keeper;
REVOKE UPDATE (metadata) ON events FROM fastlane_keeper;
REVOKE UPDATE (changes) ON audit_logs FROM fastlane_keeper;
DROP FUNCTION audit.archive_1(bigint, timestamptz, text, text, jsonb, jsonb),
    audit.redact_1(uuid, text[], text[], text, jsonb, jsonb),
    audit.redact_answers_1(uuid, text[]), audit.redact_rows_1(regclass, uuid, text[], text[]),
    audit.redacted_changes_1(jsonb, text[], text[]), audit.redacted_document_1(jsonb, text[]), audit.as_in_json_1(text[]),
    audit.redacted_list_1(text[], text[], integer), audit.redacted_text_1(text, text[], integer);
