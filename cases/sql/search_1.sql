-- Full-text search in cases, tasks and rulesets, each tenant's own.
-- Frozen: the migration that names this file has landed.

-- Lets an index lead with tenant_id. Trusted: the owner of the database may create it. In our
-- schema, so that the way back knows whether it was there before.
CREATE EXTENSION IF NOT EXISTS btree_gin SCHEMA cases;

-- Roles belong to the cluster, not to this database: another one may have made it.
DO $$
BEGIN
    CREATE ROLE fastlane_search NOLOGIN NOINHERIT;  -- owns the functions that search
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

-- What is indexed ------------------------------------------------------------

-- Both sides, the row and what is asked, go through this. A code is found however it is
-- written: M79.3 and m79.3 are M793, as on a claim. The parser would take MRI/CT for a path.
CREATE FUNCTION cases.fold_codes_1(words text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = '' AS $$
    SELECT regexp_replace(translate(words, '/_', '  ') COLLATE "C",
                          '\m([A-Z][0-9][0-9AB])\.([0-9A-Z]{1,4})\M', '\1\2', 'gi')
$$;

CREATE FUNCTION cases.codes_1(codes varchar[]) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = '' AS $$
    SELECT string_agg(code, ' ') FROM unnest(codes) AS code
$$;

-- The strings of a document, at whatever key. jsonpath recurses: without a bound it would
-- refuse a deep document that jsonb itself takes. jsonb_path_query takes long over many items.
CREATE FUNCTION cases.strings_1(document jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = '' AS $$
    SELECT string_agg(item, ' ') FROM jsonb_array_elements_text(
               jsonb_path_query_array(document, 'strict $.**{0 to 100} ? (@.type() == "string")')) AS item
$$;

-- A tsvector holds less than 1 MiB. A character takes 8 bytes of it at most, when each word is
-- a new pair of four-byte letters: the parts of a row have 130,000 characters at most together.
-- The parser would take the 26 of 72148-26 for a negative number.
-- RETURN is parsed here and now: who writes a row needs no right in this schema.
CREATE FUNCTION cases.lexemes_1(words text, at_most integer, weight "char") RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = ''
RETURN setweight(to_tsvector('pg_catalog.english'::regconfig, cases.fold_codes_1(
           regexp_replace(left(coalesce(words, ''), at_most), '-(?=[0-9])', ' ', 'g'))), weight);

ALTER TABLE cases ADD COLUMN search tsvector GENERATED ALWAYS AS (
    cases.lexemes_1(payer, 255, 'A')
    || cases.lexemes_1(cases.codes_1(diagnosis_codes), 20000, 'A')
    || cases.lexemes_1(cases.strings_1(extracted_data), 80000, 'C')
    || cases.lexemes_1(cases.strings_1(metadata_json), 20000, 'C')
) STORED;
ALTER TABLE tasks ADD COLUMN search tsvector GENERATED ALWAYS AS (
    cases.lexemes_1(title, 255, 'A')
    || cases.lexemes_1(description, 100000, 'B')
) STORED;
ALTER TABLE rulesets ADD COLUMN search tsvector GENERATED ALWAYS AS (
    cases.lexemes_1(payer, 255, 'A')
    || cases.lexemes_1(procedure, 255, 'A')
    || cases.lexemes_1(cases.strings_1(rules_json), 100000, 'C')
) STORED;
COMMENT ON COLUMN cases.search IS
    'Of full-text search: payer, diagnosis codes, and the first 80,000 and 20,000 characters of the strings in both documents.';
COMMENT ON COLUMN tasks.search IS 'Of full-text search: title, and the first 100,000 characters of the description.';
COMMENT ON COLUMN rulesets.search IS
    'Of full-text search: payer, procedure, and the first 100,000 characters of the strings in the rules.';

-- Without fastupdate: its list of what is still to be sorted in is read by every search, and
-- makes the planner prefer an index that knows the tenant alone.
CREATE INDEX cases_tenant_id_search_idx ON cases USING gin (tenant_id, search) WITH (fastupdate = off);
CREATE INDEX tasks_tenant_id_search_idx ON tasks USING gin (tenant_id, search) WITH (fastupdate = off);
CREATE INDEX rulesets_tenant_id_search_idx ON rulesets USING gin (tenant_id, search) WITH (fastupdate = off);

-- As tenancy.stamp_updated_1. A generated column is computed after this trigger and is NULL in
-- NEW until then: every update would seem to change something.
CREATE FUNCTION cases.stamp_updated_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.updated_at IS NULL OR current_user = 'fastlane_tenant' THEN
            NEW.updated_at := now();
        END IF;
        RETURN NEW;
    END IF;
    NEW.search := OLD.search;
    NEW.updated_at := OLD.updated_at;
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON cases
    FOR EACH ROW EXECUTE FUNCTION cases.stamp_updated_1();
CREATE OR REPLACE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON tasks
    FOR EACH ROW EXECUTE FUNCTION cases.stamp_updated_1();
CREATE OR REPLACE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON rulesets
    FOR EACH ROW EXECUTE FUNCTION cases.stamp_updated_1();

-- What is asked --------------------------------------------------------------

-- websearch_to_tsquery fails on more than 32 minus signs with nothing between them: only one
-- before a word or a quotation mark means "not". Within a code it is a space, as in the row.
CREATE FUNCTION cases.query_1(words text) RETURNS tsquery
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = '' AS $$
    SELECT websearch_to_tsquery('pg_catalog.english'::regconfig, regexp_replace(
               regexp_replace(cases.fold_codes_1(left(words, 1000)), '([0-9A-Za-z"])-(?=[0-9])', '\1 ', 'g'),
               '-(?=[\s\x01-\x21\x23-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]|$)', ' ', 'g'))
$$;

-- @@ is not leakproof: under a tenant's policy the planner must not use it on an index. These
-- functions belong to a role whose policy hides nothing, and name the tenant themselves. The
-- caller joins their rows with the table, under its own policies.
GRANT USAGE ON SCHEMA cases TO fastlane_search, fastlane_tenant;
GRANT SELECT (id, tenant_id, search) ON cases, tasks, rulesets TO fastlane_search;
CREATE POLICY search ON cases FOR SELECT TO fastlane_search USING (true);
CREATE POLICY search ON tasks FOR SELECT TO fastlane_search USING (true);
CREATE POLICY search ON rulesets FOR SELECT TO fastlane_search USING (true);

CREATE FUNCTION cases.search_cases_1(words text) RETURNS TABLE (id uuid, rank real)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = '' AS $$
    WITH asked AS MATERIALIZED (SELECT cases.query_1(words) AS query)
    SELECT t.id, ts_rank(t.search, (SELECT query FROM asked))
      FROM public.cases t
     WHERE t.tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid
       AND t.search @@ (SELECT query FROM asked)
$$;
CREATE FUNCTION cases.search_tasks_1(words text) RETURNS TABLE (id uuid, rank real)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = '' AS $$
    WITH asked AS MATERIALIZED (SELECT cases.query_1(words) AS query)
    SELECT t.id, ts_rank(t.search, (SELECT query FROM asked))
      FROM public.tasks t
     WHERE t.tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid
       AND t.search @@ (SELECT query FROM asked)
$$;
CREATE FUNCTION cases.search_rulesets_1(words text) RETURNS TABLE (id uuid, rank real)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = '' AS $$
    WITH asked AS MATERIALIZED (SELECT cases.query_1(words) AS query)
    SELECT t.id, ts_rank(t.search, (SELECT query FROM asked))
      FROM public.rulesets t
     WHERE t.tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid
       AND t.search @@ (SELECT query FROM asked)
$$;

DO $$
DECLARE
    routine regprocedure;
BEGIN
    FOREACH routine IN ARRAY ARRAY[
        'cases.search_cases_1(text)',
        'cases.search_tasks_1(text)',
        'cases.search_rulesets_1(text)'
    ]::regprocedure[] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO fastlane_tenant', routine);
        PERFORM tenancy.hand_over(routine, 'fastlane_search');
    END LOOP;
END
$$;
