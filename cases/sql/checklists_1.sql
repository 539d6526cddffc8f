-- What a payer's rulesets ask for becomes the tasks of a case, once, whoever adds the code or changes the ruleset; and
-- a ruleset counts its versions. Frozen once the migration that names this file has landed.

-- Versions ------------------------------------------------------------------

-- Nobody chooses a version: it counts the changes of what a ruleset asks for. Whoever brings a ruleset back, or loads a
-- copy of the database, keeps the number. Before d_stamp_updated, which asks whether anything changed.
CREATE FUNCTION cases.count_version_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.version := 1;
    ELSIF (NEW.payer, NEW.procedure, NEW.rules_json, NEW.is_active)
          IS DISTINCT FROM (OLD.payer, OLD.procedure, OLD.rules_json, OLD.is_active) THEN
        NEW.version := OLD.version + 1;
    ELSE
        NEW.version := OLD.version;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER c_version_first BEFORE INSERT ON rulesets FOR EACH ROW
    WHEN (NEW.version IS DISTINCT FROM 1 AND current_user IN ('fastlane_tenant', 'fastlane_platform'))
    EXECUTE FUNCTION cases.count_version_1();
CREATE TRIGGER c_version_next BEFORE UPDATE OF payer, procedure, rules_json, is_active, version ON rulesets FOR EACH ROW
    EXECUTE FUNCTION cases.count_version_1();

-- What is asked for ---------------------------------------------------------

-- The pattern of LIKE for a ruleset's procedure, in which a star stands for anything and all else for itself.
CREATE FUNCTION cases.procedure_pattern_1(procedure text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT replace(replace(replace(replace(lower(btrim(procedure)), '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')
$$;

-- The items of a ruleset's rules, each text once in its list. What has another shape counts as absent.
CREATE FUNCTION cases.items_asked_for_1(rules jsonb) RETURNS TABLE (kind text, text text, place bigint)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT listed.kind, btrim(item.value #>> '{}', E' \t\n\r\f'), min(item.place)
      FROM (VALUES ('requirement', rules -> 'requirements'), ('document', rules -> 'documentation')) AS listed (kind, items)
     CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(listed.items) WHEN 'array' THEN listed.items ELSE '[]' END)
           WITH ORDINALITY AS item (value, place)
     WHERE jsonb_typeof(item.value) = 'string' AND btrim(item.value #>> '{}', E' \t\n\r\f') <> ''
     GROUP BY 1, 2
$$;

-- The active rulesets that match a case: of its payer, and of all procedures or one of the case's codes.
CREATE FUNCTION cases.matching_rulesets_1(of_tenant uuid, of_case uuid, of_payer text)
RETURNS TABLE (id uuid, version integer, rules_json jsonb, created_at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT r.id, r.version, r.rules_json, r.created_at
      FROM public.rulesets r
     WHERE r.tenant_id = of_tenant AND r.is_active AND lower(r.payer) = lower(of_payer)
       AND (btrim(r.procedure) = '*' OR EXISTS (
            SELECT FROM public.case_codes k
             WHERE k.tenant_id = of_tenant AND k.case_id = of_case
               AND lower(k.code) LIKE cases.procedure_pattern_1(r.procedure)))
$$;

-- Each new case looks for these. A condition on lower(payer) is no use to an index: under row-level security it is not
-- asked of rows that the policy has not let through. https://www.postgresql.org/docs/current/rules-privileges.html
CREATE INDEX rulesets_tenant_id_every_case_idx ON rulesets (tenant_id) WHERE is_active AND btrim(procedure) = '*';

-- Tasks ---------------------------------------------------------------------

-- Once for each case, ruleset, kind and text, however many ask at the same time. The text has any length, its digest not.
CREATE UNIQUE INDEX tasks_tenant_id_case_id_requirement_idx
    ON tasks (tenant_id, case_id, ruleset_id, requirement_kind, md5(requirement)) WHERE ruleset_id IS NOT NULL;

-- What a task says of a ruleset is what that ruleset asks for, and stays. When the ruleset is deleted, its key clears
-- the reference, as the owner of the table; what was asked for stays.
CREATE FUNCTION cases.keep_requirement_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    list text := CASE NEW.requirement_kind WHEN 'document' THEN 'documentation' ELSE 'requirements' END;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', MESSAGE = 'what a task says of its ruleset cannot be changed',
            COLUMN = CASE WHEN NEW.ruleset_id IS DISTINCT FROM OLD.ruleset_id THEN 'ruleset_id'
                          WHEN NEW.ruleset_version IS DISTINCT FROM OLD.ruleset_version THEN 'ruleset_version'
                          WHEN NEW.requirement_kind IS DISTINCT FROM OLD.requirement_kind THEN 'requirement_kind'
                          ELSE 'requirement' END;
    END IF;
    IF NOT EXISTS (
        SELECT FROM public.rulesets r
         WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.ruleset_id AND r.version = NEW.ruleset_version
           AND (jsonb_typeof(r.rules_json -> list) = 'array' AND r.rules_json -> list ? NEW.requirement
                OR EXISTS (  -- One with blanks around it.
                    SELECT FROM cases.items_asked_for_1(r.rules_json) AS item
                     WHERE item.kind = NEW.requirement_kind AND item.text = NEW.requirement))) THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'requirement',
            MESSAGE = 'a task of a ruleset says what that ruleset asks for now';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER e_requirement_true BEFORE INSERT ON tasks FOR EACH ROW
    WHEN ((NEW.ruleset_id IS NOT NULL OR NEW.ruleset_version IS NOT NULL OR NEW.requirement_kind IS NOT NULL
           OR NEW.requirement IS NOT NULL) AND current_user IN ('fastlane_tenant', 'fastlane_platform'))
    EXECUTE FUNCTION cases.keep_requirement_1();
CREATE TRIGGER e_requirement_kept BEFORE UPDATE OF ruleset_id, ruleset_version, requirement_kind, requirement ON tasks
    FOR EACH ROW
    WHEN ((NEW.ruleset_id IS DISTINCT FROM OLD.ruleset_id OR NEW.ruleset_version IS DISTINCT FROM OLD.ruleset_version
           OR NEW.requirement_kind IS DISTINCT FROM OLD.requirement_kind
           OR NEW.requirement IS DISTINCT FROM OLD.requirement
              AND strpos(coalesce(NEW.requirement, ''), '[redacted]') = 0)  -- A redaction reaches it.
          AND current_user IN ('fastlane_tenant', 'fastlane_platform'))
    EXECUTE FUNCTION cases.keep_requirement_1();

-- Until the end of the transaction no ruleset of these tenants changes what is asked for: of a code and a ruleset that
-- are added at the same time, one would not see the other. Everybody locks rows of cases first, and this after them.
CREATE FUNCTION cases.rulesets_lock_1(of_tenant uuid) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(of_tenant::text, 1634296436);
CREATE FUNCTION cases.hold_rulesets_1(of_tenants uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    tenant uuid;
BEGIN
    FOREACH tenant IN ARRAY of_tenants LOOP  -- Tried first: a condition costs less than a query.
        IF NOT pg_try_advisory_xact_lock_shared(cases.rulesets_lock_1(tenant)) THEN
            PERFORM pg_advisory_xact_lock_shared(cases.rulesets_lock_1(tenant));
        END IF;
    END LOOP;
END
$$;

-- A plan is kept for as long as a session lasts, and made when there may be hardly any task: without the two settings,
-- and OFFSET 0, it would read all tasks of the tenant, since those few are quicker read than looked up.

-- Makes what is missing for those of the cases that are open, `at_most` so many tasks, by the rulesets that are named, or
-- else by all; tells how many. Called by whoever holds the rulesets of the tenants.
CREATE FUNCTION cases.make_tasks_1(of_cases uuid[], of_rulesets uuid[] DEFAULT NULL, at_most integer DEFAULT NULL)
RETURNS integer LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    matching uuid[] := of_rulesets;
    made integer;
BEGIN
    IF of_cases = '{}' THEN
        RETURN 0;
    ELSIF matching IS NULL THEN
        matching := ARRAY(
            SELECT DISTINCT r.id FROM public.cases c CROSS JOIN LATERAL cases.matching_rulesets_1(c.tenant_id, c.id, c.payer) AS r
             WHERE c.id = ANY (of_cases) AND c.status IN ('pending', 'more_info_needed'));
        IF matching = '{}' THEN
            RETURN 0;
        END IF;
    END IF;
    -- One that is being deleted is waited for, and asks for nothing.
    PERFORM FROM public.rulesets r WHERE r.id = ANY (matching) ORDER BY r.id FOR KEY SHARE;
    INSERT INTO public.tasks (
        tenant_id, case_id, title, status, priority, ruleset_id, ruleset_version, requirement_kind, requirement)
    SELECT c.tenant_id, c.id, left(item.text, 255), 'pending', c.priority, r.id, r.version, item.kind, item.text
      FROM public.cases c
     CROSS JOIN LATERAL cases.matching_rulesets_1(c.tenant_id, c.id, c.payer) AS r
     CROSS JOIN LATERAL cases.items_asked_for_1(r.rules_json) AS item
     WHERE c.id = ANY (of_cases) AND c.status IN ('pending', 'more_info_needed') AND r.id = ANY (matching)
       AND NOT EXISTS (
            SELECT FROM (SELECT t.requirement FROM public.tasks t
                          WHERE t.tenant_id = c.tenant_id AND t.case_id = c.id AND t.ruleset_id = r.id
                            AND t.requirement_kind = item.kind OFFSET 0) AS task
             WHERE task.requirement = item.text)
     -- In one order for all: who waits for another's task does not hold one that the other waits for.
     ORDER BY c.id, r.created_at, r.id, item.kind DESC, item.place
     LIMIT at_most
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS made = ROW_COUNT;
    RETURN made;
END
$$;

-- The checklist of a case as a document; NULL where there is no such case. Makes what is missing, if the case is open.
CREATE FUNCTION cases.checklist_1(of_case uuid) RETURNS jsonb
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    seen record;
BEGIN
    FOR attempt IN 1 .. 2 LOOP
        SELECT c.tenant_id, c.status,
               jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object(
                       'text', item.text, 'kind', item.kind, 'state', item.state, 'task_id', item.task_id,
                       'ruleset_id', item.ruleset_id, 'ruleset_version', item.ruleset_version)
                       ORDER BY item.created_at, item.ruleset_id, item.kind DESC, item.place)
                   FILTER (WHERE item.text IS NOT NULL), '[]'),
                   'complete', coalesce(bool_and(item.state <> 'not_met'), true)) AS checklist,
               array_agg(DISTINCT item.ruleset_id) FILTER (WHERE item.text IS NOT NULL AND item.task_id IS NULL) AS lacking
          INTO seen
          FROM public.cases c
          LEFT JOIN LATERAL (
                SELECT asked.text, asked.kind, asked.place, r.id AS ruleset_id, r.version AS ruleset_version, r.created_at,
                       task.id AS task_id,
                       CASE task.status WHEN 'completed' THEN 'met' WHEN 'cancelled' THEN 'waived' ELSE 'not_met' END AS state
                  FROM cases.matching_rulesets_1(c.tenant_id, c.id, c.payer) AS r
                 CROSS JOIN LATERAL cases.items_asked_for_1(r.rules_json) AS asked
                  LEFT JOIN (
                        SELECT t.id, t.status, t.ruleset_id, t.requirement_kind, t.requirement FROM public.tasks t
                         WHERE t.tenant_id = c.tenant_id AND t.case_id = of_case AND t.ruleset_id IS NOT NULL OFFSET 0) AS task
                    ON task.ruleset_id = r.id AND task.requirement_kind = asked.kind AND task.requirement = asked.text
                ) AS item ON true
         WHERE c.id = of_case
         GROUP BY c.tenant_id, c.status;
        EXIT WHEN attempt = 2 OR seen.checklist IS NULL OR seen.lacking IS NULL OR seen.status NOT IN ('pending', 'more_info_needed');
        PERFORM FROM public.cases c WHERE c.id = of_case FOR NO KEY UPDATE;
        PERFORM cases.hold_rulesets_1(ARRAY[seen.tenant_id]);
        PERFORM cases.make_tasks_1(ARRAY[of_case], seen.lacking);
    END LOOP;
    RETURN seen.checklist;
END
$$;

-- Whoever writes ------------------------------------------------------------

-- What is restored comes back as it was: no trigger below is called for fastlane_restorer. They come after the trail's,
-- so that a cause is on it before what follows.

-- A case that is opened is asked for what every case of its payer is.
CREATE FUNCTION cases.ask_of_new_cases_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;
BEGIN
    IF current_user <> 'fastlane_tenant' OR NOT pg_try_advisory_xact_lock_shared(cases.rulesets_lock_1(bound)) THEN
        PERFORM cases.hold_rulesets_1(ARRAY(SELECT DISTINCT n.tenant_id FROM new_rows n ORDER BY 1));
    END IF;
    -- Most have none, and a tenant sees its own.
    IF EXISTS (SELECT FROM public.rulesets r WHERE r.is_active AND btrim(r.procedure) = '*') THEN
        PERFORM cases.make_tasks_1(ARRAY(
            SELECT n.id FROM new_rows n JOIN public.rulesets r
                ON r.tenant_id = n.tenant_id AND r.is_active AND btrim(r.procedure) = '*' AND lower(r.payer) = lower(n.payer)));
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER z_checklist_insert AFTER INSERT ON cases REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
    WHEN (current_user <> 'fastlane_restorer') EXECUTE FUNCTION cases.ask_of_new_cases_1();

-- Of a row, not of a statement: other changes of a case, of which there are many, do not call it.
CREATE FUNCTION cases.ask_of_payer_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM cases.hold_rulesets_1(ARRAY[NEW.tenant_id]);
    PERFORM cases.make_tasks_1(ARRAY[NEW.id]);
    RETURN NULL;
END
$$;
CREATE TRIGGER z_checklist_payer AFTER UPDATE OF payer ON cases FOR EACH ROW
    WHEN (NEW.payer IS DISTINCT FROM OLD.payer AND NEW.status IN ('pending', 'more_info_needed'))
    EXECUTE FUNCTION cases.ask_of_payer_1();

CREATE FUNCTION cases.ask_of_codes_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    affected uuid[];
    tenants uuid[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        affected := ARRAY(SELECT DISTINCT n.case_id FROM new_rows n);
    ELSE
        affected := ARRAY(
            SELECT DISTINCT n.case_id FROM (SELECT id, case_id, code FROM new_rows EXCEPT SELECT id, case_id, code FROM old_rows) n);
    END IF;
    IF affected = '{}' THEN
        RETURN NULL;
    END IF;
    -- Locked: a payer that is changed at the same time is known here, or these codes are known there.
    SELECT array_agg(DISTINCT c.tenant_id) INTO tenants
      FROM (SELECT c.tenant_id FROM public.cases c WHERE c.id = ANY (affected) ORDER BY c.id FOR NO KEY UPDATE) c;
    PERFORM cases.hold_rulesets_1(coalesce(tenants, '{}'));
    PERFORM cases.make_tasks_1(affected);
    RETURN NULL;
END
$$;
CREATE TRIGGER z_checklist_insert AFTER INSERT ON case_codes REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
    WHEN (current_user <> 'fastlane_restorer') EXECUTE FUNCTION cases.ask_of_codes_1();
CREATE TRIGGER z_checklist_update AFTER UPDATE ON case_codes REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cases.ask_of_codes_1();

-- A changed ruleset is asked of the open cases that match, as long as those are at most 1,000, and one statement makes
-- at most 10,000 tasks, the older rulesets' first: more would not be made in the time that a request has. The other
-- cases are asked when they are evaluated next, or their codes change.
CREATE FUNCTION cases.ask_of_rulesets_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed uuid[];
    tenants uuid[];
    tenant uuid;
    room integer := 10000;
    asked record;
BEGIN
    -- Those that ask for something, or did before.
    IF TG_OP = 'INSERT' THEN
        changed := ARRAY(SELECT n.id FROM new_rows n);
        tenants := ARRAY(
            SELECT DISTINCT n.tenant_id FROM new_rows n
             WHERE n.is_active AND EXISTS (SELECT FROM cases.items_asked_for_1(n.rules_json)) ORDER BY 1);
    ELSE
        changed := ARRAY(SELECT n.id FROM (SELECT id, version FROM new_rows EXCEPT SELECT id, version FROM old_rows) n);
        tenants := ARRAY(
            SELECT DISTINCT r.tenant_id FROM (SELECT * FROM new_rows UNION ALL SELECT * FROM old_rows) r
             WHERE r.id = ANY (changed) AND r.is_active AND EXISTS (SELECT FROM cases.items_asked_for_1(r.rules_json))
             ORDER BY 1);
    END IF;
    FOREACH tenant IN ARRAY tenants LOOP
        PERFORM pg_advisory_xact_lock(cases.rulesets_lock_1(tenant));
    END LOOP;
    IF tenants = '{}' OR NOT EXISTS (SELECT FROM new_rows n WHERE n.id = ANY (changed) AND n.is_active) THEN
        RETURN NULL;
    END IF;
    FOR asked IN
        WITH rule AS MATERIALIZED (
            SELECT r.tenant_id, r.id, r.created_at, lower(r.payer) AS payer, lower(btrim(r.procedure)) AS procedure,
                   cases.procedure_pattern_1(r.procedure) AS pattern, strpos(r.procedure, '*') > 0 AS is_pattern
              FROM new_rows r WHERE r.id = ANY (changed) AND r.is_active
        ), opened AS MATERIALIZED (
            SELECT c.tenant_id, c.id, lower(c.payer) AS payer FROM public.cases c
             WHERE c.status IN ('pending', 'more_info_needed') AND c.tenant_id IN (SELECT rule.tenant_id FROM rule)
               AND lower(c.payer) IN (SELECT rule.payer FROM rule)
        ), coded AS MATERIALIZED (
            SELECT o.tenant_id, o.id, o.payer, lower(k.code) AS code
              FROM opened o JOIN public.case_codes k ON k.tenant_id = o.tenant_id AND k.case_id = o.id
             WHERE EXISTS (SELECT FROM rule WHERE rule.procedure <> '*')
        ), pair AS (
            SELECT rule.id AS ruleset_id, o.id AS case_id FROM rule JOIN opened o USING (tenant_id, payer)
             WHERE rule.procedure = '*'
             UNION
            SELECT rule.id, o.id FROM rule JOIN coded o ON o.tenant_id = rule.tenant_id AND o.payer = rule.payer
               AND o.code = rule.procedure WHERE NOT rule.is_pattern
             UNION
            SELECT rule.id, o.id FROM rule JOIN coded o ON o.tenant_id = rule.tenant_id AND o.payer = rule.payer
               AND o.code LIKE rule.pattern WHERE rule.is_pattern AND rule.procedure <> '*'
        ), counted AS (
            SELECT pair.ruleset_id, array_agg(pair.case_id) AS case_ids FROM pair GROUP BY 1 HAVING count(*) <= 1000
        )
        SELECT c.ruleset_id, c.case_ids FROM counted c JOIN rule ON rule.id = c.ruleset_id ORDER BY rule.created_at, rule.id
    LOOP
        -- A case that is being deleted is waited for, and asked for nothing.
        room := room - cases.make_tasks_1(ARRAY(
            SELECT c.id FROM public.cases c WHERE c.id = ANY (asked.case_ids) ORDER BY c.id FOR KEY SHARE),
            ARRAY[asked.ruleset_id], room);
        EXIT WHEN room = 0;
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER z_checklist_insert AFTER INSERT ON rulesets REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
    WHEN (current_user <> 'fastlane_restorer') EXECUTE FUNCTION cases.ask_of_rulesets_1();
CREATE TRIGGER z_checklist_update AFTER UPDATE ON rulesets REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cases.ask_of_rulesets_1();

-- Nobody attaches a trigger function to a table of their own; the others run with the rights of whoever writes.
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT oid::regprocedure AS routine, prorettype = 'trigger'::regtype AS is_trigger FROM pg_proc
         WHERE pronamespace = 'cases'::regnamespace
           AND proname IN ('count_version_1', 'procedure_pattern_1', 'items_asked_for_1', 'matching_rulesets_1',
                           'keep_requirement_1', 'rulesets_lock_1', 'hold_rulesets_1', 'make_tasks_1', 'checklist_1',
                           'ask_of_new_cases_1', 'ask_of_payer_1', 'ask_of_codes_1', 'ask_of_rulesets_1')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', item.routine);
        IF NOT item.is_trigger THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO fastlane_tenant, fastlane_platform', item.routine);
        END IF;
    END LOOP;
END
$$;
