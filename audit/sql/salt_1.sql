-- What a redaction leaves of a value cannot be told by guessing: a row of the trail is sealed with a salt of its own,
-- which a redaction replaces. A row of before has none, and is sealed as it was.
-- Frozen: the migration that names this file has landed.
-- Piccolo does not know the column: nothing shows it.
ALTER TABLE audit_logs ADD COLUMN salt uuid;
ALTER TABLE audit_logs ALTER COLUMN salt SET DEFAULT gen_random_uuid();
COMMENT ON COLUMN audit_logs.salt IS
    'Part of what is sealed; a redaction replaces it. Empty in rows of before there were salts.';

-- In its place, so that a process of the release before seals and verifies by the same rule.
CREATE OR REPLACE VIEW audit.sealable_1 WITH (security_invoker = true) AS
SELECT 'audit_logs' AS source, tenant_id, id, transaction_id, created_at,
       jsonb_build_array('audit_logs', id, tenant_id, action, entity_type, entity_id, ip_address, user_agent, actor,
                         request_id, transaction_id, trunc(extract(epoch FROM created_at) * 1000000))::text AS header,
       coalesce(salt::text || E'\n', '') || coalesce(changes::text, '') AS body
  FROM public.audit_logs
 UNION ALL
SELECT 'access_logs', tenant_id, id, transaction_id, created_at,
       jsonb_build_array('access_logs', id, tenant_id, user_id, actor, access, method, path, filter, row_count, status,
                         ip_address, user_agent, request_id, transaction_id,
                         trunc(extract(epoch FROM created_at) * 1000000))::text,
       ''
  FROM public.access_logs
 UNION ALL
SELECT 'platform_logs', NULL, id, transaction_id, created_at,
       jsonb_build_array('platform_logs', id, action, tenant_id, actor, request_id, transaction_id,
                         trunc(extract(epoch FROM created_at) * 1000000))::text,
       details::text
  FROM public.platform_logs;

DROP FUNCTION audit.redact_1(uuid, text[], text[], text, jsonb, jsonb);
-- In the events and the trail of a tenant, what this transaction wrote included, and records it. changed: how many rows
-- of other tables the caller has redacted. Returns that, with its own.
--
-- A row of the trail was, or may be meanwhile, sealed with what it held: the record keeps the hash of it, in which the
-- salt that goes too keeps a guess from being tried. A row of before there were salts has none.
CREATE FUNCTION audit.redact_2(
    of_tenant uuid, forms text[], kept text[], reason text, changed jsonb, authority jsonb
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
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
        SELECT a.id, a.transaction_id, a.changes AS was, audit.redacted_changes_1(a.changes, forms, untouched) AS now,
               coalesce(a.salt::text || E'\n', '') AS salt_before, gen_random_uuid() AS salt
          FROM public.audit_logs a
         WHERE a.tenant_id = of_tenant
           AND EXISTS (SELECT FROM unnest(marks) AS mark WHERE strpos(a.changes::text, mark) > 0)
    ), redacted AS (
        UPDATE public.audit_logs a SET changes = f.now, salt = f.salt FROM found f WHERE a.id = f.id AND f.now <> f.was
        RETURNING a.id, f.transaction_id, f.salt_before || f.was::text AS was, f.salt::text || E'\n' || f.now::text AS now
    )
    -- What this transaction wrote nobody has seen otherwise: it is counted, and has no hash to be kept.
    SELECT count(*) FILTER (WHERE r.transaction_id <> this_transaction), count(*), coalesce(jsonb_agg(jsonb_build_object(
               'source', 'audit_logs', 'id', r.id,
               'was', encode(sha256(convert_to(r.was, 'UTF8')), 'hex'),
               'is', encode(sha256(convert_to(r.now, 'UTF8')), 'hex')) ORDER BY r.id)
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

GRANT UPDATE (salt) ON audit_logs TO fastlane_keeper;
REVOKE EXECUTE ON FUNCTION audit.redact_2(uuid, text[], text[], text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.redact_2(uuid, text[], text[], text, jsonb, jsonb) TO fastlane_platform;
SELECT tenancy.hand_over('audit.redact_2(uuid, text[], text[], text, jsonb, jsonb)', 'fastlane_keeper');
