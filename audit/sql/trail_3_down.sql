-- The general function again, for every table that is tracked.
-- Arguments: the entity's name, and the column that names the tenant.
CREATE FUNCTION audit.record_change_2() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' AS $$
DECLARE
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - 'search' ELSE '{}' END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - 'search' ELSE '{}' END;
    row_tenant uuid := (CASE TG_OP WHEN 'DELETE' THEN old_row ELSE new_row END ->> TG_ARGV[1])::uuid;
    row_id uuid := (CASE TG_OP WHEN 'DELETE' THEN old_row ELSE new_row END ->> 'id')::uuid;
    acting_user uuid := audit.acting_user_1(row_tenant);
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT coalesce(jsonb_object_agg(o.key, o.value), '{}'), coalesce(jsonb_object_agg(n.key, n.value), '{}')
          INTO old_row, new_row
          FROM jsonb_each(old_row) o JOIN jsonb_each(new_row) n USING (key)
         WHERE o.value IS DISTINCT FROM n.value;
        IF new_row = '{}' THEN
            RETURN NULL;
        END IF;
    END IF;

    -- In a cascade, which deletes rows or clears references, the tenant or the acting user may
    -- be gone already. The rows of a deleted tenant go along with it, the new one too. The
    -- trigger's depth does not tell: what a foreign key does fires at the depth of its cause.
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND jsonb_path_exists(new_row, '$.* ? (@ == null)')) THEN
        IF NOT EXISTS (SELECT FROM public.tenants t WHERE t.id = row_tenant) THEN
            RETURN NULL;
        END IF;
        acting_user := (SELECT u.id FROM public.users u WHERE u.id = acting_user AND u.tenant_id = row_tenant);
    END IF;

    INSERT INTO public.audit_logs (
        tenant_id, user_id, action, entity_type, entity_id, changes, ip_address, user_agent, actor, request_id
    ) VALUES (
        row_tenant,
        acting_user,
        CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END,
        TG_ARGV[0],
        row_id,
        jsonb_build_object('before', old_row, 'after', new_row),
        nullif(left(current_setting('app.ip_address', true), 45), ''),
        nullif(current_setting('app.user_agent', true), ''),
        coalesce(nullif(left(current_setting('app.actor', true), 255), ''), 'sql:' || session_user),
        nullif(left(current_setting('app.request_id', true), 100), '')
    );
    RETURN NULL;
END
$$;
SELECT tenancy.hand_over('audit.record_change_2()', 'fastlane_auditor');

CREATE OR REPLACE FUNCTION audit.track_table(target regclass, entity text, tenant_key name DEFAULT 'tenant_id')
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER z_audit AFTER INSERT OR UPDATE OR DELETE ON %s
                    FOR EACH ROW EXECUTE FUNCTION audit.record_change_2(%L, %L)', target, entity, tenant_key);
END
$$;

DO $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT t.tgrelid::regclass AS target,
               substring(p.prosrc FROM '''create'' WHEN ''UPDATE'' THEN ''update'' ELSE ''delete'' END,\s+''([a-z_]+)''') AS entity,
               CASE WHEN c.relname = 'tenants' THEN 'id' ELSE 'tenant_id' END AS tenant_key
          FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
         WHERE t.tgname = 'z_audit'
    LOOP
        EXECUTE format('DROP TRIGGER z_audit ON %s', item.target);
        PERFORM audit.track_table(item.target, item.entity, item.tenant_key);
    END LOOP;
    FOR item IN  -- Those of tables that are gone too.
        SELECT oid::regprocedure AS routine FROM pg_proc
         WHERE pronamespace = 'audit'::regnamespace AND proname LIKE 'record\_%' AND proname <> 'record_change_2'
    LOOP
        EXECUTE format('DROP FUNCTION %s', item.routine);
    END LOOP;
END
$$;
CREATE OR REPLACE FUNCTION audit.acting_user_1(of_tenant uuid) RETURNS uuid
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT nullif(current_setting('app.user_id', true), '')::uuid
     WHERE nullif(current_setting('app.tenant_id', true), '')::uuid = of_tenant
$$;
