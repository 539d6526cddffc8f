-- When the payer must have decided: CMS-0057-F, or what a ruleset says. https://www.federalregister.gov/d/2024-00895
-- Frozen: the migration that names this file has landed.

-- Cases that were there before there were clocks. No trigger meanwhile: nobody changed anything, so the trail has nothing.
-- FORCE blinds the owner. Nobody sees the gap, which ends with this transaction.
ALTER TABLE cases NO FORCE ROW LEVEL SECURITY;
ALTER TABLE cases DISABLE TRIGGER USER;
UPDATE cases
   SET submitted_at = coalesce(submitted_at, created_at),
       decision_due_at = greatest(
           coalesce(submitted_at, created_at) + CASE priority WHEN 'urgent' THEN interval '72 hours' ELSE interval '168 hours' END,
           extended_until)
 WHERE submitted_at IS NULL OR decision_due_at IS NULL;
ALTER TABLE cases ENABLE TRIGGER USER;
ALTER TABLE cases FORCE ROW LEVEL SECURITY;

-- What waits for a decision, the most urgent first.
CREATE INDEX cases_tenant_id_decision_due_at_id_idx ON cases (tenant_id, decision_due_at, id)
    WHERE status IN ('pending', 'more_info_needed');
-- A new case asks whether anything but the law sets its time. Few rulesets do.
CREATE INDEX rulesets_tenant_id_payer_clock_idx ON rulesets (tenant_id, lower(payer))
    WHERE is_active AND rules_json ? 'clock';

-- What a ruleset says of a case ----------------------------------------------

-- How closely a ruleset's procedure fits a code of a case, or with no code the case itself; NULL: not at all. The code
-- itself fits better than any pattern, a pattern the better the more characters it names, and `*` fits every case.
CREATE FUNCTION cases.specificity_1(procedure text, code text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN btrim(procedure) ~ '^\*+$' THEN 0
        WHEN strpos(procedure, '*') = 0 THEN CASE WHEN lower(btrim(procedure)) = lower(btrim(code)) THEN 1000 END
        WHEN lower(btrim(code)) LIKE
             regexp_replace(regexp_replace(lower(btrim(procedure)), '([\\%_])', '\\\1', 'g'), '\*+', '%', 'g')
            THEN length(replace(btrim(procedure), '*', ''))
    END
$$;

-- The active rulesets with a clock that match a case by payer and procedure.
CREATE FUNCTION cases.clocks_of_1(of_tenant uuid, of_case uuid, of_payer text)
RETURNS TABLE (id uuid, version integer, clock jsonb, specificity integer) LANGUAGE sql STABLE AS $$
    SELECT r.id, r.version, r.rules_json -> 'clock', fit.specificity
      FROM public.rulesets r
     CROSS JOIN LATERAL (
            SELECT max(cases.specificity_1(r.procedure, asked.code)) AS specificity
              FROM (SELECT NULL::text AS code
                     UNION ALL
                    SELECT c.code FROM public.case_codes c WHERE c.tenant_id = of_tenant AND c.case_id = of_case) AS asked
           ) AS fit
     WHERE r.tenant_id = of_tenant AND r.is_active AND r.rules_json ? 'clock' AND lower(r.payer) = lower(of_payer)
       AND fit.specificity IS NOT NULL
$$;

-- When a clock runs out; NULL where it says nothing of this kind of request, or nothing that makes sense.
CREATE FUNCTION cases.clock_end_1(clock jsonb, kind text, submitted timestamptz, zone text) RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
DECLARE
    entry jsonb := clock -> kind;
    unit text := CASE WHEN entry ? 'hours' THEN 'hours' ELSE 'business_days' END;
    amount numeric;
    holidays jsonb;
    moment timestamp;
    day date;
BEGIN
    IF jsonb_typeof(entry) IS DISTINCT FROM 'object' OR jsonb_typeof(entry -> unit) IS DISTINCT FROM 'number'
       OR entry ?& ARRAY['hours', 'business_days'] THEN
        RETURN NULL;
    END IF;
    amount := entry -> unit;
    IF unit = 'hours' THEN
        RETURN CASE WHEN amount > 0 AND amount <= 8784 THEN submitted + make_interval(secs => (amount * 3600)::float8) END;
    ELSIF amount <> trunc(amount) OR amount NOT BETWEEN 1 AND 366 THEN
        RETURN NULL;
    END IF;
    -- As an object: found at once however many they are.
    SELECT coalesce(jsonb_object_agg(holiday #>> '{}', true), '{}') INTO holidays
      FROM jsonb_array_elements(CASE jsonb_typeof(clock -> 'holidays') WHEN 'array' THEN clock -> 'holidays' ELSE '[]' END)
        AS holiday
     WHERE jsonb_typeof(holiday) = 'string';
    moment := submitted AT TIME ZONE zone;
    day := moment::date;
    WHILE amount > 0 LOOP
        day := day + 1;
        IF extract(isodow FROM day) < 6 AND NOT holidays ? to_char(day, 'YYYY-MM-DD') THEN
            amount := amount - 1;
        END IF;
    END LOOP;
    RETURN (day + moment::time) AT TIME ZONE zone;
END
$$;

-- Absolute hours, whatever daylight saving does.
CREATE FUNCTION cases.due_by_law_1(priority text, submitted timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT submitted + CASE priority WHEN 'urgent' THEN interval '72 hours' ELSE interval '168 hours' END
$$;

-- When the payer must have decided, pauses and extensions aside, and which ruleset says so (none: the law). The most
-- specific one decides, of several the earliest.
CREATE FUNCTION cases.due_of_1(
    of_tenant uuid, of_case uuid, of_payer text, priority text, submitted timestamptz,
    OUT due timestamptz, OUT ruleset_id uuid, OUT ruleset_version integer
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    zone text;
    best integer;
    item record;
    clock_end timestamptz;
BEGIN
    due := cases.due_by_law_1(priority, submitted);
    FOR item IN
        SELECT c.id, c.version, c.clock, c.specificity FROM cases.clocks_of_1(of_tenant, of_case, of_payer) c
         ORDER BY c.specificity DESC, c.id
    LOOP
        EXIT WHEN item.specificity < best;
        zone := coalesce(zone, (SELECT t.time_zone FROM public.tenants t WHERE t.id = of_tenant), 'UTC');
        clock_end := cases.clock_end_1(
            item.clock, CASE priority WHEN 'urgent' THEN 'urgent' ELSE 'standard' END, submitted, zone);
        IF clock_end IS NOT NULL AND (best IS NULL OR clock_end < due) THEN
            due := clock_end;
            ruleset_id := item.id;
            ruleset_version := item.version;
            best := item.specificity;
        END IF;
    END LOOP;
END
$$;

-- Whether the clock stands still while the payer waits for information: as the ruleset that set the time says, and
-- where the law did, as any that matches says.
CREATE FUNCTION cases.pauses_1(of_tenant uuid, of_case uuid, of_payer text, of_ruleset uuid) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF of_ruleset IS NOT NULL THEN
        RETURN EXISTS (
            SELECT FROM public.rulesets r
             WHERE r.id = of_ruleset AND r.rules_json -> 'clock' -> 'pause_for_information' = 'true');
    END IF;
    -- Most payers have none: that is found out at once.
    IF NOT EXISTS (SELECT FROM public.rulesets r
                    WHERE r.tenant_id = of_tenant AND r.is_active AND r.rules_json ? 'clock' AND lower(r.payer) = lower(of_payer)) THEN
        RETURN false;
    END IF;
    RETURN EXISTS (
        SELECT FROM cases.clocks_of_1(of_tenant, of_case, of_payer) c WHERE c.clock -> 'pause_for_information' = 'true');
END
$$;

-- The clock of a case --------------------------------------------------------

-- due is what the time would be without the extension.
CREATE FUNCTION cases.check_extension_1(until timestamptz, reason text, due timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF until IS NULL AND reason IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'extension_reason',
            MESSAGE = 'extension_reason says why the time was extended, and extended_until does not say until when';
    ELSIF until IS NOT NULL AND coalesce(reason !~ '\S', true) THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'extension_reason',
            MESSAGE = 'an extension needs its reason in extension_reason';
    ELSIF until <= due OR until >= '9900-01-01Z' THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'extended_until',
            MESSAGE = 'extended_until must be later than the time at which the decision is due without it';
    END IF;
END
$$;

-- What is loaded or restored by others than clients says what was agreed, and is not asked whether it may be.
CREATE FUNCTION cases.start_clock_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.submitted_at := coalesce(NEW.submitted_at, NEW.created_at);
    IF NEW.submitted_at < '1900-01-01Z' OR NEW.submitted_at >= '9900-01-01Z' THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'submitted_at', MESSAGE = 'submitted_at is out of range';
    END IF;
    NEW.paused_at := NULL;
    NEW.paused_seconds := 0;
    -- Most payers have no clock of their own: that is found out at once.
    IF EXISTS (SELECT FROM public.rulesets r
                WHERE r.tenant_id = NEW.tenant_id AND r.is_active AND r.rules_json ? 'clock' AND lower(r.payer) = lower(NEW.payer)) THEN
        SELECT d.due, d.ruleset_id, d.ruleset_version INTO NEW.decision_due_at, NEW.due_ruleset_id, NEW.due_ruleset_version
          FROM cases.due_of_1(NEW.tenant_id, NEW.id, NEW.payer, NEW.priority, NEW.submitted_at) d;
    ELSE
        NEW.decision_due_at := cases.due_by_law_1(NEW.priority, NEW.submitted_at);
        NEW.due_ruleset_id := NULL;
        NEW.due_ruleset_version := NULL;
    END IF;
    IF NEW.extended_until IS NOT NULL OR NEW.extension_reason IS NOT NULL THEN
        IF current_user IN ('fastlane_tenant', 'fastlane_platform') THEN
            PERFORM cases.check_extension_1(NEW.extended_until, NEW.extension_reason, NEW.decision_due_at);
        END IF;
        NEW.decision_due_at := greatest(NEW.decision_due_at, NEW.extended_until);
    END IF;
    RETURN NEW;
END
$$;

-- A form sends every column back, and times with fewer digits than it got.
CREATE FUNCTION cases.is_sent_back_1(given timestamptz, stored timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT given IN (date_trunc('minute', stored), date_trunc('second', stored), date_trunc('milliseconds', stored))
           AND nullif(current_setting('app.operator_id', true), '') IS NOT NULL
$$;

-- Rulesets are asked when something changes that they set the time by, and not when they change themselves: a deadline
-- stays what it was. decision_due_at made NULL asks them again.
CREATE FUNCTION cases.keep_clock_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_client boolean := current_user IN ('fastlane_tenant', 'fastlane_platform');
    is_open boolean := OLD.status IN ('pending', 'more_info_needed') AND NEW.status IN ('pending', 'more_info_needed');
    is_asked boolean := NEW.decision_due_at IS NULL AND is_open;
    is_overruled boolean := (NEW.decision_due_at, NEW.due_ruleset_version, NEW.paused_at, NEW.paused_seconds)
        IS DISTINCT FROM (OLD.decision_due_at, OLD.due_ruleset_version, OLD.paused_at, OLD.paused_seconds);
    computed timestamptz;
BEGIN
    IF cases.is_sent_back_1(NEW.submitted_at, OLD.submitted_at) THEN
        NEW.submitted_at := OLD.submitted_at;
        is_overruled := true;
    END IF;
    IF cases.is_sent_back_1(NEW.extended_until, OLD.extended_until) THEN
        NEW.extended_until := OLD.extended_until;
        is_overruled := true;
    END IF;
    -- The key clears the reference to a ruleset that is deleted, as the owner.
    IF NEW.due_ruleset_id IS DISTINCT FROM OLD.due_ruleset_id AND (is_client OR NEW.due_ruleset_id IS NOT NULL) THEN
        NEW.due_ruleset_id := OLD.due_ruleset_id;
        is_overruled := true;
    END IF;
    NEW.due_ruleset_version := OLD.due_ruleset_version;
    NEW.paused_at := OLD.paused_at;
    NEW.paused_seconds := OLD.paused_seconds;
    IF NEW.submitted_at IS NULL THEN
        IF OLD.submitted_at IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'submitted_at', MESSAGE = 'submitted_at cannot be null';
        END IF;
        NEW.submitted_at := OLD.created_at;
    END IF;
    IF NEW.submitted_at < '1900-01-01Z' OR NEW.submitted_at >= '9900-01-01Z' THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'submitted_at', MESSAGE = 'submitted_at is out of range';
    END IF;

    IF OLD.paused_at IS NOT NULL AND NEW.status IS DISTINCT FROM 'more_info_needed' THEN
        NEW.paused_at := NULL;
        NEW.paused_seconds := OLD.paused_seconds + greatest(0, round(extract(epoch FROM now() - OLD.paused_at)));
    END IF;
    -- While an extension holds, nothing says what the time was without it.
    IF is_asked
       OR (NEW.submitted_at, NEW.priority, NEW.payer) IS DISTINCT FROM (OLD.submitted_at, OLD.priority, OLD.payer)
       OR OLD.decision_due_at = OLD.extended_until
          AND (NEW.extended_until, NEW.paused_seconds) IS DISTINCT FROM (OLD.extended_until, OLD.paused_seconds) THEN
        SELECT d.due, d.ruleset_id, d.ruleset_version INTO computed, NEW.due_ruleset_id, NEW.due_ruleset_version
          FROM cases.due_of_1(NEW.tenant_id, NEW.id, NEW.payer, NEW.priority, NEW.submitted_at) d;
        computed := computed + make_interval(secs => NEW.paused_seconds);
    ELSE
        computed := OLD.decision_due_at + make_interval(secs => NEW.paused_seconds - OLD.paused_seconds);
    END IF;
    IF (NEW.extended_until, NEW.extension_reason) IS DISTINCT FROM (OLD.extended_until, OLD.extension_reason) THEN
        -- A redaction, which is the platform's, takes a value out of the reason.
        IF NOT is_open
           AND (NEW.extended_until IS DISTINCT FROM OLD.extended_until OR current_user IS DISTINCT FROM 'fastlane_platform') THEN
            RAISE EXCEPTION USING ERRCODE = 'FL409', MESSAGE = 'the time to decide is extended while a case is open';
        END IF;
        PERFORM cases.check_extension_1(NEW.extended_until, NEW.extension_reason,
            CASE WHEN NEW.extended_until IS DISTINCT FROM OLD.extended_until THEN computed END);
    END IF;
    NEW.decision_due_at := greatest(computed, NEW.extended_until);
    IF NEW.status = 'more_info_needed' AND OLD.status IS DISTINCT FROM 'more_info_needed' THEN
        IF cases.pauses_1(NEW.tenant_id, NEW.id, NEW.payer, NEW.due_ruleset_id) THEN
            NEW.paused_at := now();
        END IF;
    END IF;
    IF is_overruled THEN  -- What was overruled is no change.
        NEW.updated_at := OLD.updated_at;
        IF NEW IS DISTINCT FROM OLD THEN
            NEW.updated_at := now();
        END IF;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER f_clock_start BEFORE INSERT ON cases
    FOR EACH ROW WHEN (current_user <> 'fastlane_restorer') EXECUTE FUNCTION cases.start_clock_1();
CREATE TRIGGER f_clock BEFORE UPDATE OF
        submitted_at, priority, payer, status, extended_until, extension_reason,
        decision_due_at, due_ruleset_id, due_ruleset_version, paused_at, paused_seconds ON cases
    FOR EACH ROW WHEN (
        OLD.status IS DISTINCT FROM NEW.status AND (NEW.status = 'more_info_needed' OR OLD.paused_at IS NOT NULL)
        OR OLD.submitted_at IS DISTINCT FROM NEW.submitted_at
        OR OLD.priority IS DISTINCT FROM NEW.priority
        OR OLD.payer IS DISTINCT FROM NEW.payer
        OR OLD.extended_until IS DISTINCT FROM NEW.extended_until
        OR OLD.extension_reason IS DISTINCT FROM NEW.extension_reason
        OR OLD.decision_due_at IS DISTINCT FROM NEW.decision_due_at
        OR OLD.due_ruleset_id IS DISTINCT FROM NEW.due_ruleset_id
        OR OLD.due_ruleset_version IS DISTINCT FROM NEW.due_ruleset_version
        OR OLD.paused_at IS DISTINCT FROM NEW.paused_at
        OR OLD.paused_seconds IS DISTINCT FROM NEW.paused_seconds)
    EXECUTE FUNCTION cases.keep_clock_1();

-- Codes that come and go choose another ruleset. Cases are locked before they are looked at: who adds another code, or
-- changes the case, at the same time waits, and sees this one. Only those whose time is another are written.
CREATE FUNCTION cases.clock_codes_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    affected uuid[];
    tenants uuid[];
    changed uuid[];
    item record;
    found record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(DISTINCT n.case_id), array_agg(DISTINCT n.tenant_id) INTO affected, tenants FROM new_rows n;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(DISTINCT o.case_id), array_agg(DISTINCT o.tenant_id) INTO affected, tenants FROM old_rows o;
    ELSE
        SELECT array_agg(DISTINCT of_case), array_agg(DISTINCT n.tenant_id) INTO affected, tenants
          FROM old_rows o JOIN new_rows n ON n.id = o.id CROSS JOIN LATERAL (VALUES (o.case_id), (n.case_id)) AS c (of_case)
         WHERE (o.case_id, o.code) IS DISTINCT FROM (n.case_id, n.code);
    END IF;
    IF affected IS NULL OR NOT EXISTS (
            SELECT FROM public.rulesets r WHERE r.tenant_id = ANY (tenants) AND r.is_active AND r.rules_json ? 'clock')
       AND NOT EXISTS (SELECT FROM public.cases c WHERE c.id = ANY (affected) AND c.due_ruleset_id IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    FOR item IN
        SELECT c.id, c.tenant_id, c.payer, c.priority, c.submitted_at, c.paused_seconds, c.extended_until,
               c.decision_due_at, c.due_ruleset_id
          FROM public.cases c
         WHERE c.id = ANY (affected) AND c.status IN ('pending', 'more_info_needed') AND c.submitted_at IS NOT NULL
         ORDER BY c.id FOR NO KEY UPDATE
    LOOP
        SELECT d.due, d.ruleset_id INTO found
          FROM cases.due_of_1(item.tenant_id, item.id, item.payer, item.priority, item.submitted_at) d;
        IF greatest(found.due + make_interval(secs => item.paused_seconds), item.extended_until) <> item.decision_due_at
           OR found.ruleset_id IS DISTINCT FROM item.due_ruleset_id THEN
            changed := changed || item.id;
        END IF;
    END LOOP;
    IF changed IS NOT NULL THEN
        UPDATE public.cases SET decision_due_at = NULL WHERE id = ANY (changed);  -- Asks for it: see keep_clock_1.
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER g_clock_insert AFTER INSERT ON case_codes REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT WHEN (current_user <> 'fastlane_restorer') EXECUTE FUNCTION cases.clock_codes_1();
CREATE TRIGGER g_clock_update AFTER UPDATE ON case_codes REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cases.clock_codes_1();
CREATE TRIGGER g_clock_delete AFTER DELETE ON case_codes REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cases.clock_codes_1();
REVOKE EXECUTE ON FUNCTION cases.start_clock_1(), cases.keep_clock_1(), cases.clock_codes_1() FROM PUBLIC;

SELECT audit.track_table('cases', 'case', told_of_changed => $$
    SELECT n.tenant_id, 'case_status_changed', 'case', n.id, jsonb_build_object('from', o.status, 'to', n.status)
      FROM old_rows o JOIN new_rows n ON n.id = o.id WHERE n.status <> o.status
     UNION ALL
    SELECT n.tenant_id, 'case_extended', 'case', n.id, jsonb_build_object('from', o.decision_due_at, 'to', n.decision_due_at)
      FROM old_rows o JOIN new_rows n ON n.id = o.id WHERE n.extended_until IS DISTINCT FROM o.extended_until
       AND n.extended_until IS NOT NULL$$);
