-- Of a copy of our database: without the trail, and the events that come with it, to see what they cost. The triggers
-- stay by name, and their functions return at once: production would not start without them.
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT t.tgname, t.tgrelid::regclass AS target, pg_get_triggerdef(t.oid) AS definition FROM pg_trigger t
         WHERE t.tgname IN ('z_audit_insert', 'z_audit_update', 'z_audit_delete')
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', item.tgname, item.target);
        EXECUTE regexp_replace(item.definition, ' REFERENCING .* FOR EACH', ' FOR EACH');
    END LOOP;
    FOR item IN
        SELECT pg_get_functiondef(oid) AS definition FROM pg_proc
         WHERE pronamespace = 'audit'::regnamespace AND prorettype = 'trigger'::regtype AND proname LIKE 'record\_%'
    LOOP
        EXECUTE regexp_replace(item.definition, E'\nBEGIN\n', E'\nBEGIN\n    RETURN NULL;\n');
    END LOOP;
END
$$;
