-- The trail, with a function for each table that names its columns. The general one made JSON of every row twice, to
-- compare all of it, which took longer than writing the entry.
-- Frozen: the migration that names this file has landed.

-- In a form that PostgreSQL writes into the statement that asks: a setting of its own made it a call for each row.
CREATE OR REPLACE FUNCTION audit.acting_user_1(of_tenant uuid) RETURNS uuid LANGUAGE sql STABLE
RETURN CASE WHEN nullif(current_setting('app.tenant_id', true), '')::uuid = of_tenant
            THEN nullif(current_setting('app.user_id', true), '')::uuid END;

-- Switches the trail on for a tenant table. entity is what audit_logs.entity_type says. To be called again when the
-- table gets another column; the column `search` follows from the others, and is left out.
CREATE OR REPLACE FUNCTION audit.track_table(target regclass, entity text, tenant_key name DEFAULT 'tenant_id')
RETURNS void LANGUAGE plpgsql AS $track$
DECLARE
    routine text := 'audit.' || quote_ident('record_' || (SELECT relname FROM pg_class WHERE oid = target));
    new_values text;
    old_values text;
    differences text;
BEGIN
    SELECT string_agg(format('%L, NEW.%I', attname, attname), ', ' ORDER BY attnum),
           string_agg(format('%L, OLD.%I', attname, attname), ', ' ORDER BY attnum),
           string_agg(format(
               'IF NEW.%1$I IS DISTINCT FROM OLD.%1$I THEN
                    before := before || jsonb_build_object(%1$L, OLD.%1$I);
                    after := after || jsonb_build_object(%1$L, NEW.%1$I);
                END IF;', attname), E'\n        ' ORDER BY attnum)
      INTO new_values, old_values, differences
      FROM pg_attribute
     WHERE attrelid = target AND attnum > 0 AND NOT attisdropped AND attname <> 'search';

    -- Not replaced: it belongs to the auditor by then. Who owns the schema may drop it.
    EXECUTE format('DROP TRIGGER IF EXISTS z_audit ON %s', target);
    EXECUTE format('DROP FUNCTION IF EXISTS %s()', routine);
    EXECUTE format($create$
CREATE FUNCTION %1$s() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' AS $body$
DECLARE
    before jsonb := '{}';
    after jsonb := '{}';
    row_tenant uuid;
    row_id uuid;
    acting_user uuid;
BEGIN
    IF TG_OP = 'INSERT' THEN
        after := jsonb_build_object(%2$s);
    ELSIF TG_OP = 'DELETE' THEN
        before := jsonb_build_object(%3$s);
    ELSE
        %4$s
        IF after = '{}' THEN
            RETURN NULL;
        END IF;
    END IF;
    IF TG_OP = 'DELETE' THEN
        row_tenant := OLD.%5$I;
        row_id := OLD.id;
    ELSE
        row_tenant := NEW.%5$I;
        row_id := NEW.id;
    END IF;
    acting_user := audit.acting_user_1(row_tenant);

    -- In a cascade, which deletes rows or clears references, the tenant or the acting user may
    -- be gone already. The rows of a deleted tenant go along with it, the new one too. The
    -- trigger's depth does not tell: what a foreign key does fires at the depth of its cause.
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND jsonb_path_exists(after, '$.* ? (@ == null)')) THEN
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
        %6$L,
        row_id,
        jsonb_build_object('before', before, 'after', after),
        nullif(left(current_setting('app.ip_address', true), 45), ''),
        nullif(current_setting('app.user_agent', true), ''),
        coalesce(nullif(left(current_setting('app.actor', true), 255), ''), 'sql:' || session_user),
        nullif(left(current_setting('app.request_id', true), 100), '')
    );
    RETURN NULL;
END
$body$ $create$, routine, new_values, old_values, differences, tenant_key, entity);
    PERFORM tenancy.hand_over((routine || '()')::regprocedure, 'fastlane_auditor');
    EXECUTE format('CREATE TRIGGER z_audit AFTER INSERT OR UPDATE OR DELETE ON %s
                    FOR EACH ROW EXECUTE FUNCTION %s()', target, routine);
END
$track$;

-- Every table that is tracked, as it was: its entity and the column that names the tenant are the trigger's arguments.
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT tgrelid::regclass AS target, string_to_array(encode(tgargs, 'escape'), '\000') AS arguments
          FROM pg_trigger WHERE tgfoid = 'audit.record_change_2()'::regprocedure
    LOOP
        PERFORM audit.track_table(item.target, item.arguments[1], item.arguments[2]::name);
    END LOOP;
END
$$;
DROP FUNCTION audit.record_change_2();
