-- Redaction, which removes a value from a tenant's rows and their trail, and the archiving of what is sealed.
-- Frozen: the migration that names this file has landed.

-- What a value is replaced by ---------------------------------------------------------------------------------------

-- forms: the value, and how else it may be written; the longest first. A text that is an id or a digest as a whole
-- contains it by accident. What becomes too long for its column is replaced as a whole.
CREATE FUNCTION audit.redacted_text_1(words text, forms text[], at_most integer DEFAULT NULL) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
DECLARE
    form text;
    result text := words;
BEGIN
    FOREACH form IN ARRAY forms LOOP
        result := replace(result, form, '[redacted]');
    END LOOP;
    IF words <> ALL (forms)
       AND words ~ '^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32,})$' THEN
        RETURN words;
    END IF;
    RETURN CASE WHEN length(result) > at_most AND result <> words THEN '[redacted]' ELSE result END;
END
$$;

CREATE FUNCTION audit.redacted_list_1(list text[], forms text[], at_most integer DEFAULT NULL) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT CASE WHEN list IS NOT NULL THEN
               ARRAY(SELECT audit.redacted_text_1(item, forms, at_most) FROM unnest(list) WITH ORDINALITY AS o (item, place)
                      ORDER BY place) END
$$;

-- How the forms stand in the text of a document.
CREATE FUNCTION audit.as_in_json_1(forms text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT ARRAY(SELECT substr(quoted, 2, length(quoted) - 2)
                   FROM unnest(forms) AS form, LATERAL (SELECT to_jsonb(form)::text AS quoted) AS q)
$$;

-- In strings and keys at any depth, and in numbers that are it. The text is taken apart instead of the document: that
-- has no bound in depth. Of two keys that would become one, the second gets a number.
CREATE FUNCTION audit.redacted_document_1(document jsonb, forms text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
DECLARE
    source text := document::text;
    earlier integer;
    numbers text;
    result text;
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(audit.as_in_json_1(forms)) AS mark WHERE strpos(source, mark) > 0) THEN
        RETURN document;
    END IF;
    earlier := (length(source) - length(replace(source, '[redacted]', ''))) / length('[redacted]');
    numbers := (SELECT '(?<![0-9.eE+-])(' || string_agg(replace(form, '.', '\.'), '|') || ')(?![0-9.eE+-])'
                  FROM unnest(forms) AS form WHERE form ~ '^-?[0-9]+(\.[0-9]+)?$');
    WITH token AS (
        SELECT part[1] AS was, place, left(part[1], 1) = '"' AS is_string
          FROM regexp_matches(source, '"(?:[^"\\]|\\.)*"|[^"]+', 'g') WITH ORDINALITY AS t (part, place)
    ), redacted AS (
        SELECT place, is_string, is_string AND lead(was) OVER (ORDER BY place) LIKE ':%' AS is_key,
               CASE WHEN is_string THEN was::jsonb #>> '{}' ELSE was END AS was,
               CASE WHEN is_string THEN audit.redacted_text_1(was::jsonb #>> '{}', forms)
                    WHEN numbers IS NULL THEN was
                    ELSE regexp_replace(was, numbers, '"[redacted]"', 'g') END AS now
          FROM token
    ), numbered AS (
        SELECT *, earlier + row_number() OVER (PARTITION BY is_key AND now <> was ORDER BY place) AS number FROM redacted
    )
    SELECT string_agg(CASE WHEN NOT is_string THEN now
                           WHEN is_key AND now <> was AND number > 1 THEN to_jsonb(format('%s (%s)', now, number))::text
                           ELSE to_jsonb(now)::text END, '' ORDER BY place)
      INTO result FROM numbered;
    RETURN result::jsonb;
END
$$;

-- The changes of a row on the trail, but for the columns that are kept.
CREATE FUNCTION audit.redacted_changes_1(changes jsonb, forms text[], kept text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT coalesce(jsonb_object_agg(part.key, CASE jsonb_typeof(part.value) WHEN 'object' THEN (
               SELECT coalesce(jsonb_object_agg(item.key, CASE WHEN item.key = ANY (kept) THEN item.value
                                                          ELSE audit.redacted_document_1(item.value, forms) END), '{}')
                 FROM jsonb_each(part.value) AS item)
           ELSE audit.redacted_document_1(part.value, forms) END), '{}')
      FROM jsonb_each(changes) AS part
$$;

-- Redaction ---------------------------------------------------------------------------------------------------------

-- In a tenant's rows of a table, as the caller, by ordinary updates. Returns how many. kept: columns of keys and of
-- closed sets, which cannot be redacted. FL409: one of them contains it.
CREATE FUNCTION audit.redact_rows_1(target regclass, of_tenant uuid, forms text[], kept text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    tenant_key name := CASE target WHEN 'public.tenants'::regclass THEN 'id' ELSE 'tenant_id' END;
    item record;
    is_there boolean;
    assignments text;
    is_changed text;
    changed bigint := 0;
BEGIN
    FOR item IN
        SELECT a.attname, c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE a.attrelid = target AND a.attname = ANY (kept)
           AND a.atttypid IN ('text'::regtype, 'varchar'::regtype) AND NOT a.attisdropped
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %I = $1
                        AND EXISTS (SELECT FROM unnest($2) AS form WHERE strpos(%I, form) > 0))',
                       target, tenant_key, item.attname) INTO is_there USING of_tenant, forms;
        IF is_there THEN
            RAISE EXCEPTION USING ERRCODE = 'FL409',
                MESSAGE = format('%s.%s contains it, and is a key or one of a closed set of values', item.relname, item.attname);
        END IF;
    END LOOP;

    SELECT string_agg(format('%I = %s', attname, now), ', ' ORDER BY attnum),
           string_agg(format('%I IS DISTINCT FROM %s', attname, now), ' OR ' ORDER BY attnum)
      INTO assignments, is_changed
      FROM pg_attribute a, LATERAL (
           SELECT CASE WHEN atttypid = 'jsonb'::regtype THEN format('audit.redacted_document_1(%I, $2)', attname)
                       WHEN atttypid IN ('text'::regtype, 'varchar'::regtype)
                       THEN format('audit.redacted_text_1(%I, $2, %s)::varchar', attname, at_most)
                       WHEN atttypid IN ('text[]'::regtype, 'varchar[]'::regtype)
                       THEN format('audit.redacted_list_1(%I, $2, %s)::varchar[]', attname, at_most) END AS now
             FROM (SELECT CASE WHEN atttypmod > 4 THEN (atttypmod - 4)::text ELSE 'NULL' END AS at_most) AS t) AS r
     WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (kept) AND now IS NOT NULL;
    IF assignments IS NOT NULL THEN
        EXECUTE format('UPDATE %s SET %s WHERE %I = $1 AND (%s)', target, assignments, tenant_key, is_changed)
          USING of_tenant, forms;
        GET DIAGNOSTICS changed = ROW_COUNT;
    END IF;
    RETURN changed;
END
$$;

-- Deletes the stored answers of a tenant that contain it, as the caller. Returns how many.
CREATE FUNCTION audit.redact_answers_1(of_tenant uuid, forms text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    deleted bigint;
BEGIN
    DELETE FROM public.idempotency_keys k
     WHERE k.tenant_id = of_tenant
       AND EXISTS (SELECT FROM unnest(forms || audit.as_in_json_1(forms)) AS form
                    WHERE position(convert_to(form, 'UTF8') IN k.body) > 0
                       OR strpos(k.headers::text, form) > 0 OR strpos(k.key, form) > 0);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

-- In the events and the trail of a tenant, what this transaction wrote included, and records it. changed: how many rows
-- of other tables the caller has redacted. Returns that, with its own.
--
-- A row of the trail was, or may be meanwhile, sealed with what it held: the record keeps the hash of it.
CREATE FUNCTION audit.redact_1(
    of_tenant uuid, forms text[], kept text[], reason text, changed jsonb, authority jsonb
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' AS $$
DECLARE
    its_slug text := (SELECT t.slug FROM public.tenants t WHERE t.id = of_tenant);
    marks text[] := audit.as_in_json_1(forms);
    this_transaction bigint;
    count_of bigint;
    count_of_all bigint;
    entries jsonb;
    untouched text[];
BEGIN
    PERFORM pg_advisory_xact_lock(1634296435);
    IF its_slug IS NULL OR coalesce(cardinality(forms), 0) = 0 OR EXISTS (SELECT FROM unnest(forms) AS form WHERE length(form) < 4)
       OR EXISTS (SELECT FROM unnest(forms) AS form WHERE strpos(reason, form) > 0) THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422',
            MESSAGE = 'a redaction is of a tenant, of at least four characters, and its reason does not contain them';
    END IF;
    IF EXISTS (SELECT FROM public.events e, unnest(forms) AS form
                WHERE e.tenant_id = of_tenant
                  AND (strpos(e.event_type, form) > 0 OR strpos(e.entity_type, form) > 0)) THEN
        RAISE EXCEPTION USING ERRCODE = 'FL409', MESSAGE = 'the type of an event contains it';
    END IF;

    UPDATE public.events e SET metadata = audit.redacted_document_1(e.metadata, forms)
     WHERE e.tenant_id = of_tenant AND audit.redacted_document_1(e.metadata, forms) <> e.metadata;
    GET DIAGNOSTICS count_of = ROW_COUNT;
    changed := changed || jsonb_build_object('events', count_of);

    -- Times, ids and numbers contain it by accident.
    untouched := kept || ARRAY(
        SELECT a.attname::text FROM pg_trigger t JOIN pg_attribute a ON a.attrelid = t.tgrelid
         WHERE t.tgname = 'z_audit_insert' AND a.attnum > 0 AND NOT a.attisdropped
         GROUP BY a.attname
        HAVING bool_and(a.atttypid NOT IN ('text'::regtype, 'varchar'::regtype, 'text[]'::regtype, 'varchar[]'::regtype,
                                           'jsonb'::regtype)));
    this_transaction := audit.epoch_base_1() + pg_current_xact_id()::text::bigint;
    WITH found AS MATERIALIZED (
        SELECT a.id, a.transaction_id, a.changes AS was, audit.redacted_changes_1(a.changes, forms, untouched) AS now
          FROM public.audit_logs a
         WHERE a.tenant_id = of_tenant
           AND EXISTS (SELECT FROM unnest(marks) AS mark WHERE strpos(a.changes::text, mark) > 0)
    ), redacted AS (
        UPDATE public.audit_logs a SET changes = f.now FROM found f WHERE a.id = f.id AND f.now <> f.was
        RETURNING a.id, f.transaction_id, f.was, f.now
    )
    -- What this transaction wrote nobody has seen otherwise: it is counted, and has no hash to be kept.
    SELECT count(*) FILTER (WHERE r.transaction_id <> this_transaction), count(*), coalesce(jsonb_agg(jsonb_build_object(
               'source', 'audit_logs', 'id', r.id,
               'was', encode(sha256(convert_to(r.was::text, 'UTF8')), 'hex'),
               'is', encode(sha256(convert_to(r.now::text, 'UTF8')), 'hex')) ORDER BY r.id)
               FILTER (WHERE r.transaction_id <> this_transaction), '[]')
      INTO count_of, count_of_all, entries FROM redacted r;
    changed := changed || jsonb_build_object('audit_logs', count_of);
    changed := (SELECT coalesce(jsonb_object_agg(c.key, c.value), '{}') FROM jsonb_each(changed) AS c WHERE c.value <> '0');

    IF changed <> '{}' OR count_of_all > 0 THEN
        INSERT INTO public.platform_logs (id, action, tenant_id, details, actor, request_id, created_at)
        VALUES (audit.new_id_1(), 'redacted', of_tenant,
                jsonb_build_object('tenant', its_slug, 'reason', reason, 'tables', changed, 'entries', entries,
                                   'authority', authority),
                coalesce(nullif(left(current_setting('app.actor', true), 255), ''), 'sql:' || session_user),
                nullif(left(current_setting('app.request_id', true), 100), ''), clock_timestamp());
    END IF;
    RETURN changed;
END
$$;

-- Archiving ---------------------------------------------------------------------------------------------------------

-- Deletes the rows that the checkpoints seal, from the first that is not archived up to this one, and records where they
-- went. FL409: there is no such checkpoint, or its rows are not those that the file has.
CREATE FUNCTION audit.archive_1(
    upto_checkpoint bigint, begins timestamptz, file text, digest text, rows_in_file jsonb, authority jsonb
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    first_checkpoint bigint;
    below bigint := (SELECT c.upto FROM public.checkpoints c WHERE c.id = upto_checkpoint);
    deleted jsonb;
BEGIN
    PERFORM pg_advisory_xact_lock(1634296435);
    first_checkpoint := 1 + (SELECT coalesce(max((l.details ->> 'upto_checkpoint')::bigint), 0)
                               FROM public.platform_logs l WHERE l.action = 'archived');
    IF below IS NULL OR upto_checkpoint < first_checkpoint THEN
        RAISE EXCEPTION USING ERRCODE = 'FL409', MESSAGE = 'this checkpoint is not there, or is archived';
    END IF;
    IF (SELECT c.created_at FROM public.checkpoints c WHERE c.id = upto_checkpoint)
       >= begins THEN
        RAISE EXCEPTION USING ERRCODE = 'FL409', MESSAGE = 'only what was sealed before the month is archived';
    END IF;
    WITH named AS MATERIALIZED (
        SELECT p.source, sealed.id FROM public.checkpoint_parts p, unnest(p.ids) AS sealed (id)
         WHERE p.checkpoint BETWEEN first_checkpoint AND upto_checkpoint
    ), of_changes AS (
        DELETE FROM public.audit_logs a USING named n
         WHERE n.source = 'audit_logs' AND a.id = n.id AND a.transaction_id < below RETURNING a.id
    ), of_looks AS (
        DELETE FROM public.access_logs a USING named n
         WHERE n.source = 'access_logs' AND a.id = n.id AND a.transaction_id < below RETURNING a.id
    )
    SELECT jsonb_build_object('audit_logs', (SELECT count(*) FROM of_changes), 'access_logs', (SELECT count(*) FROM of_looks))
      INTO deleted;
    IF deleted IS DISTINCT FROM rows_in_file THEN
        RAISE EXCEPTION USING ERRCODE = 'FL409', MESSAGE = 'the rows are not those that were written to the file';
    END IF;
    INSERT INTO public.platform_logs (id, action, details, actor, request_id, created_at)
    VALUES (audit.new_id_1(), 'archived',
            jsonb_build_object('upto_checkpoint', upto_checkpoint, 'before', to_char(begins AT TIME ZONE 'UTC', 'YYYY-MM'), 'file', file, 'sha256', digest,
                               'rows', deleted, 'authority', authority),
            coalesce(nullif(left(current_setting('app.actor', true), 255), ''), 'sql:' || session_user),
            nullif(left(current_setting('app.request_id', true), 100), ''), clock_timestamp());
END
$$;

-- Who may -----------------------------------------------------------------------------------------------------------

GRANT SELECT (id, slug) ON tenants TO fastlane_keeper;
GRANT SELECT ON events, audit_logs, access_logs, platform_logs, checkpoints, checkpoint_parts TO fastlane_keeper;
GRANT UPDATE (metadata) ON events TO fastlane_keeper;
GRANT UPDATE (changes) ON audit_logs TO fastlane_keeper;
GRANT DELETE ON audit_logs, access_logs TO fastlane_keeper;
GRANT INSERT ON platform_logs TO fastlane_keeper;
DO $$
DECLARE
    target text;
    routine regprocedure;
BEGIN
    FOREACH target IN ARRAY ARRAY['tenants', 'events', 'audit_logs', 'access_logs', 'platform_logs', 'checkpoints', 'checkpoint_parts']
    LOOP
        EXECUTE format('CREATE POLICY keeper ON %I FOR SELECT TO fastlane_keeper USING (true)', target);
    END LOOP;
    -- What no checkpoint seals is hidden from it.
    FOREACH target IN ARRAY ARRAY['audit_logs', 'access_logs'] LOOP
        EXECUTE format('CREATE POLICY keeper_archives ON %I FOR DELETE TO fastlane_keeper
                        USING (transaction_id < (SELECT max(c.upto) FROM checkpoints c))', target);
    END LOOP;
    FOREACH target IN ARRAY ARRAY['events', 'audit_logs'] LOOP
        EXECUTE format('CREATE POLICY keeper_redacts ON %I FOR UPDATE TO fastlane_keeper USING (true)', target);
    END LOOP;

    FOREACH routine IN ARRAY ARRAY[
        'audit.redacted_text_1(text, text[], integer)', 'audit.redacted_list_1(text[], text[], integer)',
        'audit.as_in_json_1(text[])', 'audit.redacted_document_1(jsonb, text[])',
        'audit.redacted_changes_1(jsonb, text[], text[])', 'audit.redact_rows_1(regclass, uuid, text[], text[])',
        'audit.redact_answers_1(uuid, text[])'
    ]::regprocedure[] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO fastlane_platform, fastlane_keeper', routine);
    END LOOP;
    FOREACH routine IN ARRAY ARRAY[
        'audit.redact_1(uuid, text[], text[], text, jsonb, jsonb)',
        'audit.archive_1(bigint, timestamptz, text, text, jsonb, jsonb)'
    ]::regprocedure[] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO fastlane_platform', routine);
        PERFORM tenancy.hand_over(routine, 'fastlane_keeper');
    END LOOP;
END
$$;
CREATE POLICY keeper_records ON platform_logs FOR INSERT TO fastlane_keeper WITH CHECK (action IN ('redacted', 'archived'));
