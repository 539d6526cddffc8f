-- The versions of a row, folded from its trail, and the way back of what was deleted.
-- Frozen: the migration that names this file has landed.

-- What audit_logs.entity_type says of a table, as its own trail function does; NULL of one that is not tracked. A
-- temporary one, of which anybody could make one with triggers, is none of them.
CREATE FUNCTION audit.entity_of_1(target regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT substring(p.prosrc FROM '''delete'', ''([^'']+)'', o\.id')
      FROM pg_catalog.pg_trigger t
      JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
      JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
     WHERE t.tgrelid = target AND t.tgname = 'z_audit_delete' AND c.relnamespace = 'public'::regnamespace
$$;

-- Every version of a row that the caller's policies show. It folds from the present backwards, undoing one entry after
-- the other: what is archived is not needed. document is the whole row, NULL of a deletion. Version 0, without an
-- action, is the row as it was before the oldest entry, where that is known and no creation.
CREATE FUNCTION audit.versions_1(target regclass, row_id uuid)
RETURNS TABLE (version integer, action text, at timestamptz, user_id uuid, actor text, request_id text,
               transaction_id bigint, changes jsonb, document jsonb)
LANGUAGE plpgsql STABLE ROWS 20 SET search_path = '' SET timezone = 'UTC' AS $$
DECLARE
    entry record;
    state jsonb;
    added text;
BEGIN
    EXECUTE format('SELECT to_jsonb(t) - ''search'' FROM %s t WHERE t.id = $1', target) INTO state USING row_id;
    FOR entry IN
        SELECT l.action, l.created_at, l.user_id, l.actor, l.request_id, l.transaction_id, l.changes,
               -- Entries that came before there were statement triggers have the time of their transaction.
               (row_number() OVER (ORDER BY l.created_at, array_position(ARRAY['create', 'update', 'delete'], l.action::text),
                                            l.id))::integer AS number
          FROM public.audit_logs l
         WHERE l.entity_id = row_id AND l.entity_type = (SELECT audit.entity_of_1(target)) AND l.action <> 'view'
         ORDER BY number DESC
    LOOP
        version := entry.number;
        action := entry.action;
        at := entry.created_at;
        user_id := entry.user_id;
        actor := entry.actor;
        request_id := entry.request_id;
        transaction_id := entry.transaction_id;
        changes := entry.changes;
        document := CASE WHEN entry.action <> 'delete' THEN state END;
        RETURN NEXT;
        CASE entry.action
            WHEN 'update' THEN
                state := state || (entry.changes -> 'before');
            WHEN 'delete' THEN
                state := entry.changes -> 'before';
                -- A column that came later had its default in the rows that were there.
                SELECT string_agg(format('%L, %s', a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid)), ', ')
                  INTO added
                  FROM pg_catalog.pg_attribute a
                  JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                 WHERE a.attrelid = target AND NOT a.attisdropped AND a.attgenerated = '' AND NOT state ? a.attname;
                IF added IS NOT NULL THEN
                    EXECUTE format('SELECT jsonb_build_object(%s) || $1', added) INTO state USING state;
                END IF;
            ELSE
                state := NULL;
        END CASE;
    END LOOP;
    IF state IS NOT NULL THEN
        version := 0;
        action := NULL;
        at := coalesce(state ->> 'updated_at', state ->> 'created_at');
        user_id := NULL;
        actor := NULL;
        request_id := NULL;
        transaction_id := NULL;
        changes := NULL;
        document := state;
        RETURN NEXT;
    END IF;
END
$$;

-- A document as a row of the base's type. What no longer fits its column, since a value was redacted from the trail, is
-- '[redacted]' where that fits, and else NULL.
CREATE FUNCTION audit.typed_1(base anyelement, document jsonb) RETURNS anyelement
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    fitting jsonb := document;
    item record;
    replacement jsonb;
BEGIN
    RETURN jsonb_populate_record(base, document);
EXCEPTION WHEN data_exception THEN
    FOR item IN SELECT key, value FROM jsonb_each(document) LOOP
        FOREACH replacement IN ARRAY ARRAY[item.value, '"[redacted]"', 'null'] LOOP
            BEGIN
                PERFORM jsonb_populate_record(base, jsonb_build_object(item.key, replacement));
                fitting := fitting || jsonb_build_object(item.key, replacement);
                EXIT;
            EXCEPTION WHEN data_exception THEN
                NULL;
            END;
        END LOOP;
    END LOOP;
    RETURN jsonb_populate_record(base, fitting);
END
$$;

-- What a delete took: the row as the given version had it, and what hung from it by foreign keys that cascade, as it
-- was. Parents have a lower depth.
CREATE FUNCTION audit.taken_along_1(target regclass, root jsonb, deleted_at timestamptz, deleted_in bigint)
RETURNS TABLE (source regclass, depth integer, document jsonb)
LANGUAGE sql STABLE SET search_path = '' AS $$
    WITH RECURSIVE link AS MATERIALIZED (
        SELECT k.conrelid::regclass AS child, audit.entity_of_1(k.conrelid) AS entity, h.attname AS reference,
               k.confrelid::regclass AS parent
          FROM pg_catalog.pg_constraint k
         CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS pair (here, there)
          JOIN pg_catalog.pg_attribute h ON h.attrelid = k.conrelid AND h.attnum = pair.here
          JOIN pg_catalog.pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = pair.there
         WHERE k.contype = 'f' AND k.confdeltype = 'c' AND t.attname = 'id'
    ), gone AS MATERIALIZED (
        SELECT DISTINCT ON (l.entity_type, l.entity_id) l.entity_type, l.entity_id, l.changes -> 'before' AS document
          FROM public.audit_logs l
         WHERE l.action = 'delete' AND l.transaction_id = deleted_in
           -- Of entries that came before transactions were numbered, those of one have one time.
           AND (deleted_in <> 0 OR l.created_at = deleted_at)
         ORDER BY l.entity_type, l.entity_id, l.created_at DESC, l.id DESC
    ), taken AS (
        SELECT target AS source, (root ->> 'id')::uuid AS id, 0 AS depth, root AS document
         UNION ALL
        SELECT link.child, gone.entity_id, taken.depth + 1, gone.document
          FROM taken
          JOIN link ON link.parent = taken.source
          JOIN gone ON gone.entity_type = link.entity AND gone.document ->> link.reference = taken.id::text
         WHERE taken.depth < 20
    )
    SELECT DISTINCT ON (taken.source, taken.id) taken.source, taken.depth, taken.document
      FROM taken ORDER BY taken.source, taken.id, taken.depth DESC
$$;

-- Brings a deleted row back, as it was or as the `wanted` version had it, with what the same delete took along; tells
-- how many rows. Nothing can be written but what the trail says, and only in the bound tenant: its owner sees no other.
CREATE FUNCTION audit.restore_row_1(target regclass, row_id uuid, wanted integer DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' AS $$
DECLARE
    deletion record;
    root jsonb;
    part record;
    names text;
    expressions text;
    restored integer := 0;
    broken_table text;
    broken_rule text;
    columns text;
BEGIN
    IF current_setting('app.user_role', true) IS DISTINCT FROM 'admin' THEN
        RAISE EXCEPTION USING ERRCODE = 'FL403', MESSAGE = 'only an admin restores what was deleted';
    ELSIF audit.entity_of_1(target) IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'FL404', MESSAGE = 'there is no such resource';
    END IF;
    SELECT v.action, v.at, v.transaction_id, v.document INTO deletion
      FROM audit.versions_1(target, row_id) v ORDER BY v.version DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'FL404', MESSAGE = 'there is no such resource';
    ELSIF deletion.action IS DISTINCT FROM 'delete' THEN
        RAISE EXCEPTION USING ERRCODE = 'FL409', MESSAGE = 'the row is there, and was not deleted';
    END IF;
    SELECT v.document INTO root FROM audit.versions_1(target, row_id) v
     WHERE v.document IS NOT NULL AND v.version = coalesce(wanted, v.version) ORDER BY v.version DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'version', MESSAGE = 'there is no such version of the row';
    END IF;
    IF target = 'public.users'::regclass THEN  -- Who somebody is comes from an invitation, not from an older version.
        root := root || jsonb_build_object('auth_id', (
            SELECT l.changes -> 'before' -> 'auth_id' FROM public.audit_logs l
             WHERE l.entity_id = row_id AND l.entity_type = 'user' AND l.action = 'delete'
             ORDER BY l.created_at DESC, l.id DESC LIMIT 1));
    END IF;

    PERFORM set_config('app.restores', 'on', true);  -- For the events that an insert tells.
    FOR part IN
        SELECT t.source, jsonb_agg(t.document) AS documents
          FROM audit.taken_along_1(target, root, deletion.at, deletion.transaction_id) t
         GROUP BY t.depth, t.source ORDER BY t.depth, t.source::text
    LOOP
        -- Columns that came later have their default. A reference that its key would have cleared, had the row been
        -- there when the other one went (ON DELETE SET NULL), is cleared.
        SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum),
               string_agg(coalesce(cleared.expression, format('r.%I', a.attname)), ', ' ORDER BY a.attnum)
          INTO names, expressions
          FROM pg_catalog.pg_attribute a
          LEFT JOIN LATERAL (
                SELECT format('CASE WHEN EXISTS (SELECT FROM %1$s p WHERE p.id = r.%2$I) THEN r.%2$I END',
                              k.confrelid::regclass, a.attname) AS expression
                  FROM pg_catalog.pg_constraint k
                 WHERE k.conrelid = a.attrelid AND k.contype = 'f' AND k.confdeltype = 'n'
                   AND a.attnum = ANY (coalesce(k.confdelsetcols, k.conkey)) LIMIT 1) AS cleared ON true
         WHERE a.attrelid = part.source AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
           AND part.documents -> 0 ? a.attname;
        EXECUTE format('INSERT INTO %1$s (%2$s) SELECT %3$s FROM jsonb_populate_recordset(NULL::%1$s, $1) AS r',
                       part.source, names, expressions) USING part.documents;
        restored := restored + jsonb_array_length(part.documents);
    END LOOP;
    PERFORM set_config('app.restores', '', true);
    RETURN restored;
EXCEPTION WHEN foreign_key_violation OR unique_violation OR check_violation OR not_null_violation THEN
    GET STACKED DIAGNOSTICS broken_table = TABLE_NAME, broken_rule = CONSTRAINT_NAME;
    SELECT string_agg(a.attname, ', ') INTO columns
      FROM pg_catalog.pg_constraint k
      JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) AND a.attname <> 'tenant_id'
     WHERE k.conrelid = format('public.%I', broken_table)::regclass AND k.conname = broken_rule;
    RAISE EXCEPTION USING ERRCODE = 'FL409', MESSAGE = CASE
        WHEN SQLSTATE = '23503' THEN format('%s.%s refers to a row that is gone; restore that one first', broken_table, columns)
        WHEN SQLSTATE = '23505' AND columns = 'id' THEN format('a row of %s is there again already', broken_table)
        WHEN SQLSTATE = '23505' THEN format('another row has the same %s.%s by now', broken_table, columns)
        ELSE format('a row of %s, as it was, breaks a rule that came later', broken_table) END;
WHEN data_exception THEN
    RAISE EXCEPTION USING ERRCODE = 'FL409',
        MESSAGE = 'a value was redacted from the trail of what was deleted, and what is left does not fit';
END
$$;

GRANT USAGE ON SCHEMA audit TO fastlane_tenant;
DO $$
DECLARE
    routine regprocedure;
BEGIN
    FOREACH routine IN ARRAY ARRAY[
        'audit.entity_of_1(regclass)',
        'audit.versions_1(regclass, uuid)',
        'audit.typed_1(anyelement, jsonb)',
        'audit.taken_along_1(regclass, jsonb, timestamptz, bigint)',
        'audit.restore_row_1(regclass, uuid, integer)'
    ]::regprocedure[] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION audit.entity_of_1(regclass), audit.versions_1(regclass, uuid)
    TO fastlane_tenant, fastlane_restorer;
GRANT EXECUTE ON FUNCTION audit.typed_1(anyelement, jsonb) TO fastlane_tenant;
GRANT EXECUTE ON FUNCTION audit.taken_along_1(regclass, jsonb, timestamptz, bigint) TO fastlane_restorer;
GRANT EXECUTE ON FUNCTION audit.restore_row_1(regclass, uuid, integer) TO fastlane_tenant;
SELECT tenancy.hand_over('audit.restore_row_1(regclass, uuid, integer)', 'fastlane_restorer');

GRANT SELECT ON audit_logs TO fastlane_restorer;
CREATE POLICY restorer ON audit_logs FOR SELECT TO fastlane_restorer
    USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));

-- Lets a tenant's rows be restored where the tenant may create rows at all.
CREATE FUNCTION audit.let_restore_1(target regclass, tenant_key name) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF has_table_privilege('fastlane_tenant', target, 'INSERT') THEN
        EXECUTE format('DROP POLICY IF EXISTS restorer ON %s', target);
        EXECUTE format('CREATE POLICY restorer ON %s TO fastlane_restorer
                        USING (%I = (SELECT nullif(current_setting(''app.tenant_id'', true), '''')::uuid))',
                       target, tenant_key);
        EXECUTE format('GRANT SELECT, INSERT ON %s TO fastlane_restorer', target);
    END IF;
END
$$;

-- Whoever tracks a table, after isolating it, lets its rows be restored with the same call.
ALTER FUNCTION audit.track_table(regclass, text, name, text, text) RENAME TO record_table_1;
CREATE FUNCTION audit.track_table(
    target regclass,
    entity text,
    tenant_key name DEFAULT 'tenant_id',
    told_of_new text DEFAULT NULL,
    told_of_changed text DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit.record_table_1(target, entity, tenant_key, told_of_new, told_of_changed);
    PERFORM audit.let_restore_1(target, tenant_key);
END
$$;
REVOKE EXECUTE ON FUNCTION
    audit.track_table(regclass, text, name, text, text), audit.let_restore_1(regclass, name) FROM PUBLIC;

-- Every table that is tracked already.
SELECT audit.let_restore_1(tgrelid, 'tenant_id') FROM pg_trigger WHERE tgname = 'z_audit_delete';
