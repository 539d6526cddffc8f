-- The trail by statement: a bulk of a thousand rows is one insert, and the events that a change tells are written, and
-- put on the trail, in the same statement. Frozen: the migration that names this file has landed.

-- Roles belong to the cluster, not to this database: another one may have made them.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY[
        'fastlane_service',   -- the service's own work: records looks, seals
        'fastlane_sealer',    -- owns the functions that fold the trail into checkpoints
        'fastlane_restorer',  -- owns the function that brings a deleted row back
        'fastlane_keeper'     -- owns the functions that redact the trail and archive it
    ] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$$;
GRANT USAGE ON SCHEMA audit TO fastlane_service, fastlane_sealer, fastlane_restorer, fastlane_keeper, fastlane_platform;

-- Piccolo writes a default for each Python default.
ALTER TABLE access_logs
    ALTER COLUMN actor DROP DEFAULT, ALTER COLUMN access DROP DEFAULT, ALTER COLUMN method DROP DEFAULT,
    ALTER COLUMN path DROP DEFAULT;
ALTER TABLE platform_logs ALTER COLUMN action DROP DEFAULT, ALTER COLUMN actor DROP DEFAULT;
ALTER TABLE checkpoints
    ALTER COLUMN previous_hash DROP DEFAULT, ALTER COLUMN parts_digest DROP DEFAULT, ALTER COLUMN hash DROP DEFAULT,
    ALTER COLUMN key_id DROP DEFAULT, ALTER COLUMN signature DROP DEFAULT;
ALTER TABLE checkpoint_parts
    ALTER COLUMN source DROP DEFAULT, ALTER COLUMN ids DROP DEFAULT, ALTER COLUMN leaves DROP DEFAULT;

ALTER TABLE access_logs ADD CONSTRAINT access_logs_access_check CHECK (access IN ('list', 'export', 'refusal'));
ALTER TABLE platform_logs ADD CONSTRAINT platform_logs_action_check
    CHECK (action IN ('tenant_deleted', 'redacted', 'archived', 'epoch_started'));
ALTER TABLE platform_logs ADD CONSTRAINT platform_logs_details_check CHECK (jsonb_typeof(details) = 'object');
ALTER TABLE checkpoints ADD CONSTRAINT checkpoints_id_check CHECK (id > 0);
ALTER TABLE checkpoint_parts
    ADD CONSTRAINT checkpoint_parts_source_check CHECK (source IN ('audit_logs', 'access_logs', 'platform_logs')),
    ADD CONSTRAINT checkpoint_parts_leaves_check CHECK (length(leaves) = 32 * cardinality(ids)),
    ADD CONSTRAINT checkpoint_parts_checkpoint_key UNIQUE NULLS NOT DISTINCT (checkpoint, source, tenant_id);

-- What comes after a restore into another cluster, where transaction ids start anew, begins further up: 2^48 an epoch.
-- Rows that were there before have 0.
ALTER TABLE events ALTER COLUMN transaction_id SET DEFAULT pg_current_xact_id()::text::bigint;
ALTER TABLE audit_logs ALTER COLUMN transaction_id SET DEFAULT pg_current_xact_id()::text::bigint;
ALTER TABLE access_logs ALTER COLUMN transaction_id SET DEFAULT pg_current_xact_id()::text::bigint;
ALTER TABLE platform_logs ALTER COLUMN transaction_id SET DEFAULT pg_current_xact_id()::text::bigint;

-- What the sealer and the stream go through. Transaction numbers rise with the place in the table, more or less: a
-- summary of blocks is enough, and costs a write next to nothing.
CREATE INDEX audit_logs_transaction_id_created_at_idx ON audit_logs
    USING brin (transaction_id, created_at) WITH (autosummarize = on);
CREATE INDEX access_logs_transaction_id_created_at_idx ON access_logs
    USING brin (transaction_id, created_at) WITH (autosummarize = on);
CREATE INDEX events_tenant_id_transaction_id_idx ON events (tenant_id, transaction_id, created_at, id);
CREATE INDEX access_logs_tenant_id_created_at_id_idx ON access_logs (tenant_id, created_at DESC, id);

SELECT tenancy.isolate_table('access_logs', 'SELECT', 'SELECT');
REVOKE ALL ON platform_logs, checkpoints, checkpoint_parts FROM PUBLIC;
GRANT SELECT ON platform_logs, checkpoints, checkpoint_parts TO fastlane_platform;
ALTER TABLE platform_logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE checkpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE checkpoint_parts ENABLE ROW LEVEL SECURITY;
ALTER TABLE platform_logs FORCE ROW LEVEL SECURITY;
ALTER TABLE checkpoints FORCE ROW LEVEL SECURITY;
ALTER TABLE checkpoint_parts FORCE ROW LEVEL SECURITY;
CREATE POLICY platform ON platform_logs FOR SELECT TO fastlane_platform USING (true);
CREATE POLICY platform ON checkpoints FOR SELECT TO fastlane_platform USING (true);
CREATE POLICY platform ON checkpoint_parts FOR SELECT TO fastlane_platform USING (true);
GRANT INSERT ON access_logs, platform_logs TO fastlane_auditor;
GRANT SELECT ON events TO fastlane_auditor;
CREATE POLICY auditor ON access_logs FOR INSERT TO fastlane_auditor WITH CHECK (true);
CREATE POLICY auditor ON platform_logs FOR INSERT TO fastlane_auditor WITH CHECK (true);
CREATE POLICY auditor_reads ON events FOR SELECT TO fastlane_auditor USING (true);

-- Nobody edits what happened. Two changes come from the schema itself and pass: the rows of a tenant that is gone are
-- deleted, and the reference to a user who is gone is cleared. A checkpoint is signed once. What redacts and archives is let through by WHEN.
CREATE FUNCTION audit.refuse_change_2() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME IN ('audit_logs', 'access_logs') THEN
        IF OLD.tenant_id IS NOT NULL AND NOT EXISTS (SELECT FROM public.tenants t WHERE t.id = OLD.tenant_id) THEN
            RETURN OLD;
        END IF;
    ELSIF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'audit_logs' THEN
        IF NEW.user_id IS NULL
           AND to_jsonb(NEW) - 'user_id' = to_jsonb(OLD) - 'user_id'
           AND NOT EXISTS (SELECT FROM public.users u WHERE u.id = OLD.user_id) THEN
            RETURN NEW;
        END IF;
    ELSIF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'checkpoints' THEN
        IF OLD.signature = '' AND to_jsonb(NEW) - ARRAY['key_id', 'signature'] = to_jsonb(OLD) - ARRAY['key_id', 'signature'] THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'FL403', MESSAGE = 'the audit trail is append-only';
END
$$;
SELECT tenancy.hand_over('audit.refuse_change_2()', 'fastlane_auditor');
DROP TRIGGER a_append_only ON audit_logs;
DROP TRIGGER a_append_only_truncate ON audit_logs;
DROP FUNCTION audit.refuse_change_1();
DO $$
DECLARE
    target regclass;
BEGIN
    FOREACH target IN ARRAY ARRAY['audit_logs', 'access_logs', 'platform_logs', 'checkpoints', 'checkpoint_parts']::regclass[]
    LOOP
        EXECUTE format('CREATE TRIGGER a_append_only BEFORE UPDATE OR DELETE ON %s FOR EACH ROW
                        WHEN (current_user <> ''fastlane_keeper'') EXECUTE FUNCTION audit.refuse_change_2()', target);
        EXECUTE format('CREATE TRIGGER a_append_only_truncate BEFORE TRUNCATE ON %s
                        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change_2()', target);
    END LOOP;
END
$$;

-- A key of our own rows, in order of time: random ones would be written all over the index.
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 180000 THEN
        CREATE FUNCTION audit.new_id_1() RETURNS uuid LANGUAGE sql VOLATILE RETURN uuidv7();
    ELSE  -- RFC 9562, section 5.7.
        CREATE FUNCTION audit.new_id_1() RETURNS uuid LANGUAGE sql VOLATILE RETURN encode(
            set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
                substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
                52, 1), 53, 1), 'hex')::uuid;
    END IF;
END
$$;

CREATE FUNCTION audit.refuse_truncate_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'FL403', MESSAGE = 'rows are deleted, not truncated: the trail has an entry for each';
END
$$;

-- Switches the trail on for a tenant table. entity is what audit_logs.entity_type says. To be called again when the
-- table gets another column; the column `search` follows from the others, and is left out.
--
-- told_of_new and told_of_changed are the events that a change tells: queries over new_rows AS n, and over old_rows AS o
-- as well, for (tenant_id, event_type, entity_type, entity_id, metadata). NULL: as they were. '': none.
DROP FUNCTION audit.track_table(regclass, text, name);
CREATE FUNCTION audit.track_table(
    target regclass,
    entity text,
    tenant_key name DEFAULT 'tenant_id',
    told_of_new text DEFAULT NULL,
    told_of_changed text DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $track$
DECLARE
    routine text := 'audit.' || quote_ident('record_' || (SELECT relname FROM pg_class WHERE oid = target));
    -- A trigger keeps them as its arguments: for when it is made anew.
    known text[] := ARRAY(SELECT convert_from(decode(argument, 'escape'), 'UTF8')
                            FROM pg_trigger, regexp_split_to_table(encode(tgargs, 'escape'), '\\000') AS argument
                           WHERE tgrelid = target AND tgname = 'z_audit_insert');
    new_told text := coalesce(told_of_new, known[1], '');
    changed_told text := coalesce(told_of_changed, known[2], '');
    nothing CONSTANT text := 'SELECT NULL::uuid, NULL::text, NULL::text, NULL::uuid, NULL::jsonb WHERE false';
    of_new text;
    of_old text;
    of_event text;
    before text;
    after text;
BEGIN
    SELECT string_agg(format('%1$L, n.%1$I', attname), ', ' ORDER BY attnum),
           string_agg(format('%1$L, o.%1$I', attname), ', ' ORDER BY attnum),
           string_agg(format('CASE WHEN n.%1$I IS DISTINCT FROM o.%1$I THEN jsonb_build_object(%1$L, o.%1$I) ELSE ''{}'' END',
                             attname), E'\n               || ' ORDER BY attnum),
           string_agg(format('CASE WHEN n.%1$I IS DISTINCT FROM o.%1$I THEN jsonb_build_object(%1$L, n.%1$I) ELSE ''{}'' END',
                             attname), E'\n               || ' ORDER BY attnum)
      INTO of_new, of_old, before, after
      FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped AND attname <> 'search';
    SELECT string_agg(format('%1$L, t.%1$I', attname), ', ' ORDER BY attnum) INTO of_event
      FROM pg_attribute WHERE attrelid = 'public.events'::regclass AND attnum > 0 AND NOT attisdropped;

    EXECUTE format('DROP TRIGGER IF EXISTS z_audit ON %s', target);  -- Of an earlier version.
    EXECUTE format('DROP TRIGGER IF EXISTS z_audit_insert ON %s', target);
    EXECUTE format('DROP TRIGGER IF EXISTS z_audit_update ON %s', target);
    EXECUTE format('DROP TRIGGER IF EXISTS z_audit_delete ON %s', target);
    EXECUTE format('DROP TRIGGER IF EXISTS z_audit_truncate ON %s', target);
    -- Not replaced: it belongs to the auditor by then. Who owns the schema may drop it.
    EXECUTE format('DROP FUNCTION IF EXISTS %s()', routine);
    -- Of two relations without statistics a nested loop looks best, and is not for a thousand rows. MATERIALIZED: the
    -- documents are compared once, not in each place that asks for the difference.
    EXECUTE replace(replace(format($create$
CREATE FUNCTION %1$s() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_nestloop = off AS $body$
BEGIN
    IF TG_OP = 'INSERT' THEN
        WITH told AS (
            INSERT INTO public.events (id, tenant_id, user_id, event_type, entity_type, entity_id, metadata, created_at)
            SELECT audit.new_id_1(), e.tenant_id, audit.acting_user_1(e.tenant_id), e.event_type, e.entity_type,
                   e.entity_id, e.metadata, clock_timestamp()
              FROM (%2$s) AS e (tenant_id, event_type, entity_type, entity_id, metadata)
            RETURNING *
        ), changed AS MATERIALIZED (
            SELECT n.%4$I AS tenant_id, %5$L AS entity, n.id, jsonb_build_object(%6$s) AS after FROM new_rows n
             UNION ALL
            SELECT t.tenant_id, 'event', t.id, jsonb_build_object(%7$s) FROM told t
        )
        <<insert>>
        SELECT audit.new_id_1(), c.tenant_id, audit.acting_user_1(c.tenant_id), 'create', c.entity, c.id,
               jsonb_build_object('before', '{}'::jsonb, 'after', c.after), <<client>>
          FROM changed c;
    ELSIF TG_OP = 'UPDATE' THEN
        WITH told AS (
            INSERT INTO public.events (id, tenant_id, user_id, event_type, entity_type, entity_id, metadata, created_at)
            SELECT audit.new_id_1(), e.tenant_id, audit.acting_user_1(e.tenant_id), e.event_type, e.entity_type,
                   e.entity_id, e.metadata, clock_timestamp()
              FROM (%3$s) AS e (tenant_id, event_type, entity_type, entity_id, metadata)
            RETURNING *
        ), changed AS MATERIALIZED (
            SELECT n.%4$I AS tenant_id, %5$L AS entity, 'update' AS action, n.id,
               %8$s AS before,
               %9$s AS after
              FROM old_rows o JOIN new_rows n ON n.id = o.id
             UNION ALL
            SELECT t.tenant_id, 'event', 'create', t.id, '{}', jsonb_build_object(%7$s) FROM told t
        )
        -- A cascade clears references, when the tenant or the acting user may be gone already. The rows of a deleted
        -- tenant go along with it, the new ones too.
        <<insert>>
        SELECT audit.new_id_1(), c.tenant_id,
               CASE WHEN jsonb_path_exists(c.after, '$.* ? (@ == null)')
                    THEN (SELECT u.id FROM public.users u
                           WHERE u.id = audit.acting_user_1(c.tenant_id) AND u.tenant_id = c.tenant_id)
                    ELSE audit.acting_user_1(c.tenant_id) END,
               c.action, c.entity, c.id, jsonb_build_object('before', c.before, 'after', c.after), <<client>>
          FROM changed c
         WHERE c.after <> '{}'
           AND (NOT jsonb_path_exists(c.after, '$.* ? (@ == null)')
                OR (SELECT true FROM public.tenants t WHERE t.id = c.tenant_id));
    ELSE
        <<insert>>
        SELECT audit.new_id_1(), o.%4$I,
               (SELECT u.id FROM public.users u WHERE u.id = audit.acting_user_1(o.%4$I) AND u.tenant_id = o.%4$I),
               'delete', %5$L, o.id, jsonb_build_object('before', jsonb_build_object(%10$s), 'after', '{}'::jsonb),
               <<client>>
          FROM old_rows o
         WHERE (SELECT true FROM public.tenants t WHERE t.id = o.%4$I);
    END IF;
    RETURN NULL;
END
$body$ $create$,
        routine, coalesce(nullif(new_told, ''), nothing), coalesce(nullif(changed_told, ''), nothing), tenant_key, entity,
        of_new, of_event, before, after, of_old),
        '<<insert>>',
        'INSERT INTO public.audit_logs (
            id, tenant_id, user_id, action, entity_type, entity_id, changes, ip_address, user_agent, actor, request_id,
            created_at)'),
        '<<client>>',
        'nullif(left(current_setting(''app.ip_address'', true), 45), ''''),
               nullif(current_setting(''app.user_agent'', true), ''''),
               coalesce(nullif(left(current_setting(''app.actor'', true), 255), ''''), ''sql:'' || session_user),
               nullif(left(current_setting(''app.request_id'', true), 100), ''''), clock_timestamp()');
    -- Events that a change tells are on the trail already.
    EXECUTE format('CREATE TRIGGER z_audit_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows
                    FOR EACH STATEMENT %s EXECUTE FUNCTION %s(%L, %L)', target,
                   CASE target WHEN 'public.events'::regclass THEN 'WHEN (current_user <> ''fastlane_auditor'')' END,
                   routine, new_told, changed_told);
    EXECUTE format('CREATE TRIGGER z_audit_update AFTER UPDATE ON %s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION %s()', target, routine);
    EXECUTE format('CREATE TRIGGER z_audit_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION %s()', target, routine);
    EXECUTE format('CREATE TRIGGER z_audit_truncate BEFORE TRUNCATE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_truncate_1()', target);
    -- Who may call it could attach it to a table of their own.
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s() FROM PUBLIC', routine);
    PERFORM tenancy.hand_over((routine || '()')::regprocedure, 'fastlane_auditor');
END
$track$;
REVOKE EXECUTE ON FUNCTION audit.track_table(regclass, text, name, text, text) FROM PUBLIC;

-- Every table that is tracked. Its function has the name of the entity in it.
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
        PERFORM audit.track_table(item.target, item.entity, item.tenant_key);
    END LOOP;
END
$$;

SELECT audit.track_table('users', 'user', told_of_new => '', told_of_changed => $$
    SELECT n.tenant_id, 'user_role_changed', 'user', n.id, jsonb_build_object('from', o.role, 'to', n.role)
      FROM old_rows o JOIN new_rows n ON n.id = o.id WHERE n.role <> o.role
     UNION ALL
    SELECT n.tenant_id, CASE WHEN n.is_active THEN 'user_activated' ELSE 'user_deactivated' END, 'user', n.id, '{}'::jsonb
      FROM old_rows o JOIN new_rows n ON n.id = o.id WHERE n.is_active <> o.is_active$$);
