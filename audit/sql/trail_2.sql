-- The trail without the column `search`, which the database computes from the row's other columns.
-- Frozen: the migration that names this file has landed.

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

-- The triggers move, each with its own arguments; a table that is tracked later gets version 2.
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT tgrelid::regclass AS target, tgname, pg_get_triggerdef(oid) AS definition
          FROM pg_trigger WHERE tgfoid = 'audit.record_change_1()'::regprocedure
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', item.tgname, item.target);
        EXECUTE replace(item.definition, 'EXECUTE FUNCTION audit.record_change_1(',
                        'EXECUTE FUNCTION audit.record_change_2(');
    END LOOP;
END
$$;
CREATE OR REPLACE FUNCTION audit.track_table(target regclass, entity text, tenant_key name DEFAULT 'tenant_id')
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER z_audit AFTER INSERT OR UPDATE OR DELETE ON %s
                    FOR EACH ROW EXECUTE FUNCTION audit.record_change_2(%L, %L)', target, entity, tenant_key);
END
$$;
DROP FUNCTION audit.record_change_1();
