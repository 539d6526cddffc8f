-- How cases, ingestions and tasks move, whoever moves them. Frozen: the migration that names this file has landed.

-- Without a single character that one can see.
CREATE FUNCTION cases.is_blank_1(value text) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN value IS NULL OR value !~ '[^[:space:][:cntrl:]\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]';

-- Whether a text is what a redaction leaves of another one: the same, but for what it put its mark in the place of.
CREATE FUNCTION cases.is_redacted_1(was text, now text) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN strpos(now, '[redacted]') > 0
   AND was LIKE replace(regexp_replace(now, '([\\%_])', '\\\1', 'g'), '[redacted]', '%') || '%';

-- The periods of approvals, in whatever status somebody who may loads them.
ALTER TABLE cases ADD CONSTRAINT cases_valid_until_check CHECK (valid_until >= valid_from);

-- A new case ------------------------------------------------------------------

-- A case is opened as pending, with nothing of a decision, by whoever the request is. The tables' owner loads cases as
-- they are elsewhere, and what was deleted comes back as it was: see the trigger.
CREATE FUNCTION cases.open_case_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_tenant boolean := current_user = 'fastlane_tenant';
    at_fault text;
BEGIN
    IF is_tenant OR current_user = 'fastlane_platform' THEN
        IF NEW.status IS DISTINCT FROM 'pending' THEN
            IF is_tenant AND NEW.status IN ('approved', 'denied')
               AND coalesce(current_setting('app.user_role', true), '') NOT IN ('clinician', 'admin') THEN
                RAISE EXCEPTION USING ERRCODE = 'FL403', MESSAGE = 'only a clinician or an admin decides a case';
            END IF;
            RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'status', MESSAGE = 'a case is created as pending';
        END IF;
        IF num_nonnulls(NEW.denial_reason, NEW.authorization_number, NEW.valid_from, NEW.valid_until, NEW.approved_units,
                        NEW.decided_at, NEW.decided_by) > 0 THEN
            at_fault := CASE
                WHEN NEW.denial_reason IS NOT NULL THEN 'denial_reason'
                WHEN NEW.authorization_number IS NOT NULL THEN 'authorization_number'
                WHEN NEW.valid_from IS NOT NULL THEN 'valid_from'
                WHEN NEW.valid_until IS NOT NULL THEN 'valid_until'
                WHEN NEW.approved_units IS NOT NULL THEN 'approved_units'
                WHEN NEW.decided_at IS NOT NULL THEN 'decided_at'
                ELSE 'decided_by' END;
            RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = at_fault,
                MESSAGE = at_fault || ' belongs to a decision, and a new case has none';
        END IF;
        IF num_nulls(NEW.previous_case_id, NEW.follow_up) = 1 THEN
            RAISE EXCEPTION USING ERRCODE = 'FL422',
                COLUMN = CASE WHEN NEW.follow_up IS NULL THEN 'follow_up' ELSE 'previous_case_id' END,
                MESSAGE = 'previous_case_id and follow_up are given together, or neither is';
        ELSIF NEW.follow_up IS NOT NULL THEN
            -- One that is not there is for the foreign key to refuse. A denial is final: nothing can overtake this.
            IF EXISTS (SELECT FROM public.cases c
                        WHERE c.id = NEW.previous_case_id AND c.tenant_id = NEW.tenant_id AND c.status <> 'denied') THEN
                RAISE EXCEPTION USING ERRCODE = 'FL409', COLUMN = 'previous_case_id',
                    MESSAGE = 'only a denied case is resubmitted or appealed';
            END IF;
        END IF;
    END IF;
    IF is_tenant OR NEW.created_by IS NULL THEN
        NEW.created_by := coalesce(nullif(current_setting('app.user_id', true), '')::uuid, NEW.created_by);
    END IF;
    RETURN NEW;
END
$$;

-- What was deleted comes back as it was. In an earlier version it does too, but for a decision, which stays as it is
-- when the case is gone and back. Redacted is a status that nobody knows.
CREATE FUNCTION cases.restore_case_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last_status text;
BEGIN
    SELECT l.changes -> 'before' ->> 'status' INTO last_status FROM public.audit_logs l
     WHERE l.entity_type = 'case' AND l.entity_id = NEW.id AND l.action = 'delete'
     ORDER BY l.created_at DESC, l.id DESC LIMIT 1;
    IF last_status IN ('approved', 'denied') AND NEW.status <> last_status THEN
        RAISE EXCEPTION USING ERRCODE = 'FL409', COLUMN = 'status',
            MESSAGE = 'the case was decided, and comes back as decided only';
    END IF;
    RETURN NEW;
END
$$;

-- A case that moves -----------------------------------------------------------

-- pending and more_info_needed become each other, approved or denied; those two are final, for everybody.
CREATE FUNCTION cases.guard_case_2() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_client boolean := current_user IN ('fastlane_tenant', 'fastlane_platform');
    at_fault text;
BEGIN
    IF current_user = 'fastlane_tenant' AND NEW.status <> OLD.status AND NEW.status IN ('approved', 'denied')
       AND coalesce(current_setting('app.user_role', true), '') NOT IN ('clinician', 'admin') THEN
        RAISE EXCEPTION USING ERRCODE = 'FL403', MESSAGE = 'only a clinician or an admin decides a case';
    END IF;
    at_fault := CASE
        WHEN NEW.created_by IS DISTINCT FROM OLD.created_by THEN 'created_by'
        WHEN NOT is_client THEN NULL
        WHEN NEW.previous_case_id IS DISTINCT FROM OLD.previous_case_id THEN 'previous_case_id'
        WHEN NEW.follow_up IS DISTINCT FROM OLD.follow_up THEN 'follow_up' END;
    IF at_fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = at_fault, MESSAGE = at_fault || ' cannot be changed';
    END IF;
    -- Who decided is deleted, and the key clears the reference, as the table's owner.
    IF NEW.decided_by IS NULL AND NOT is_client AND pg_trigger_depth() > 1 THEN
        OLD.decided_by := NULL;
    END IF;
    -- A value that slipped into a decision is removed all the same, by whoever redacts: the platform.
    IF current_user <> 'fastlane_tenant' THEN
        IF cases.is_redacted_1(OLD.denial_reason, NEW.denial_reason) THEN
            OLD.denial_reason := NEW.denial_reason;
        END IF;
        IF cases.is_redacted_1(OLD.authorization_number, NEW.authorization_number) THEN
            OLD.authorization_number := NEW.authorization_number;
        END IF;
    END IF;

    IF OLD.status IN ('approved', 'denied') THEN
        at_fault := CASE
            WHEN NEW.status IS DISTINCT FROM OLD.status THEN 'status'
            WHEN NEW.denial_reason IS DISTINCT FROM OLD.denial_reason THEN 'denial_reason'
            WHEN NEW.authorization_number IS DISTINCT FROM OLD.authorization_number THEN 'authorization_number'
            WHEN NEW.valid_from IS DISTINCT FROM OLD.valid_from THEN 'valid_from'
            WHEN NEW.valid_until IS DISTINCT FROM OLD.valid_until THEN 'valid_until'
            WHEN NEW.approved_units IS DISTINCT FROM OLD.approved_units THEN 'approved_units'
            WHEN NEW.decided_at IS DISTINCT FROM OLD.decided_at THEN 'decided_at'
            WHEN NEW.decided_by IS DISTINCT FROM OLD.decided_by THEN 'decided_by' END;
        IF at_fault IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'FL409', COLUMN = at_fault, MESSAGE = CASE
                WHEN at_fault <> 'status' THEN 'the decision is final: ' || at_fault || ' cannot be changed'
                WHEN OLD.status = 'denied' THEN 'a denied case is final; resubmit or appeal it instead'
                ELSE 'an approved case is final' END;
        END IF;
        RETURN NEW;
    END IF;

    -- A case that was loaded with what does not belong to it is refused when it moves, not when something else changes.
    at_fault := CASE
        WHEN NEW.status = OLD.status
             AND (NEW.denial_reason, NEW.authorization_number, NEW.valid_from, NEW.valid_until, NEW.approved_units)
                 IS NOT DISTINCT FROM
                 (OLD.denial_reason, OLD.authorization_number, OLD.valid_from, OLD.valid_until, OLD.approved_units) THEN NULL
        WHEN NEW.status <> 'denied' AND NEW.denial_reason IS NOT NULL THEN 'denial_reason'
        WHEN NEW.status = 'approved' THEN NULL
        WHEN NEW.authorization_number IS NOT NULL THEN 'authorization_number'
        WHEN NEW.valid_from IS NOT NULL THEN 'valid_from'
        WHEN NEW.valid_until IS NOT NULL THEN 'valid_until'
        WHEN NEW.approved_units IS NOT NULL THEN 'approved_units' END;
    IF at_fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = at_fault, MESSAGE = at_fault || ' belongs to '
            || CASE at_fault WHEN 'denial_reason' THEN 'a denial' ELSE 'an approval' END;
    END IF;
    IF NEW.status IN ('approved', 'denied') THEN
        IF NEW.status = 'denied' AND cases.is_blank_1(NEW.denial_reason) THEN
            RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'denial_reason', MESSAGE = 'a denial needs a denial_reason';
        ELSIF NEW.valid_until < NEW.valid_from THEN
            RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'valid_until', MESSAGE = 'valid_until is not before valid_from';
        ELSIF NEW.approved_units <= 0 THEN
            RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'approved_units', MESSAGE = 'approved_units is above zero';
        END IF;
        NEW.decided_at := now();
        NEW.decided_by := nullif(current_setting('app.user_id', true), '')::uuid;
    ELSIF NEW.decided_at IS DISTINCT FROM OLD.decided_at OR NEW.decided_by IS DISTINCT FROM OLD.decided_by THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', MESSAGE = 'who decides a case, and when, is set by the server',
            COLUMN = CASE WHEN NEW.decided_at IS DISTINCT FROM OLD.decided_at THEN 'decided_at' ELSE 'decided_by' END;
    END IF;
    RETURN NEW;
END
$$;

-- A browser sends a time back with fewer digits than it got.
CREATE FUNCTION cases.keep_decided_at_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.decided_at := OLD.decided_at;
    RETURN NEW;
END
$$;

DROP TRIGGER e_guard_case ON cases;
DROP FUNCTION cases.guard_case_1();
CREATE TRIGGER e_open_case BEFORE INSERT ON cases FOR EACH ROW WHEN (current_user <> 'fastlane_restorer')
    EXECUTE FUNCTION cases.open_case_1();
CREATE TRIGGER e_restore_case BEFORE INSERT ON cases FOR EACH ROW WHEN (current_user = 'fastlane_restorer')
    EXECUTE FUNCTION cases.restore_case_1();
CREATE TRIGGER e_guard_case BEFORE UPDATE ON cases FOR EACH ROW
    WHEN ((NEW.status, NEW.denial_reason, NEW.authorization_number, NEW.valid_from, NEW.valid_until, NEW.approved_units,
           NEW.decided_at, NEW.decided_by, NEW.created_by, NEW.previous_case_id, NEW.follow_up)
          IS DISTINCT FROM
          (OLD.status, OLD.denial_reason, OLD.authorization_number, OLD.valid_from, OLD.valid_until, OLD.approved_units,
           OLD.decided_at, OLD.decided_by, OLD.created_by, OLD.previous_case_id, OLD.follow_up))
    EXECUTE FUNCTION cases.guard_case_2();
-- Before d_stamp_updated, which asks whether anything changed.
CREATE TRIGGER c_keep_decided_at BEFORE UPDATE OF decided_at ON cases FOR EACH ROW
    WHEN (NEW.decided_at <> OLD.decided_at AND NEW.decided_at > OLD.decided_at - interval '1 minute'
          AND NEW.decided_at < OLD.decided_at + interval '1 minute')
    EXECUTE FUNCTION cases.keep_decided_at_1();

-- Ingestions ------------------------------------------------------------------

-- One may be recorded in any status, by a pipeline that ran before; from there it goes step by step.
CREATE FUNCTION cases.guard_ingestion_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.status = 'pending' AND NEW.status IN ('completed', 'failed'))
           OR (OLD.status = 'processing' AND NEW.status = 'pending')
           OR (OLD.status = 'failed' AND NEW.status IN ('processing', 'completed'))
           OR (OLD.status = 'completed' AND NEW.status IN ('pending', 'processing', 'failed')) THEN
            RAISE EXCEPTION USING ERRCODE = 'FL409', COLUMN = 'status', MESSAGE = CASE OLD.status
                WHEN 'pending' THEN 'a pending ingestion becomes processing'
                WHEN 'processing' THEN 'a processing ingestion becomes completed or failed'
                WHEN 'failed' THEN 'a failed ingestion becomes pending'
                ELSE 'a completed ingestion is final' END;
        END IF;
        IF OLD.status = 'failed' AND NEW.status = 'pending' THEN
            NEW.error_message := NULL;
        END IF;
    END IF;
    IF NEW.status = 'failed' AND cases.is_blank_1(NEW.error_message) THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'error_message',
            MESSAGE = 'a failed ingestion has an error_message';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER e_open_ingestion BEFORE INSERT ON ingestions FOR EACH ROW
    WHEN (NEW.status = 'failed' AND current_user <> 'fastlane_restorer')
    EXECUTE FUNCTION cases.guard_ingestion_1();
CREATE TRIGGER e_guard_ingestion BEFORE UPDATE ON ingestions FOR EACH ROW
    WHEN (NEW.status IS DISTINCT FROM OLD.status OR NEW.error_message IS DISTINCT FROM OLD.error_message)
    EXECUTE FUNCTION cases.guard_ingestion_1();

-- Tasks -----------------------------------------------------------------------

-- When a task was done is when it became completed; what a client says of it is kept away in silence, as a form sends
-- it back. Before d_stamp_updated, which asks whether anything changed.
CREATE FUNCTION cases.complete_task_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_client boolean := current_user IN ('fastlane_tenant', 'fastlane_platform');
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF is_client THEN
            NEW.completed_at := CASE NEW.status WHEN 'completed' THEN now() END;
        ELSIF NEW.status = 'completed' AND NEW.completed_at IS NULL THEN
            NEW.completed_at := now();
        END IF;
    ELSIF NEW.status IS DISTINCT FROM OLD.status THEN
        NEW.completed_at := CASE NEW.status WHEN 'completed' THEN now() END;
    ELSIF is_client THEN
        NEW.completed_at := OLD.completed_at;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER c_complete_new_task BEFORE INSERT ON tasks FOR EACH ROW
    WHEN (current_user <> 'fastlane_restorer' AND (NEW.status = 'completed' OR NEW.completed_at IS NOT NULL))
    EXECUTE FUNCTION cases.complete_task_1();
CREATE TRIGGER c_complete_task BEFORE UPDATE ON tasks FOR EACH ROW
    WHEN (NEW.status IS DISTINCT FROM OLD.status OR NEW.completed_at IS DISTINCT FROM OLD.completed_at)
    EXECUTE FUNCTION cases.complete_task_1();

REVOKE EXECUTE ON FUNCTION cases.open_case_1(), cases.restore_case_1(), cases.guard_case_2(), cases.keep_decided_at_1(),
    cases.guard_ingestion_1(), cases.complete_task_1() FROM PUBLIC;
