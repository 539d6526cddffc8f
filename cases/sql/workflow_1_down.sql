DROP TRIGGER c_complete_new_task ON tasks;
DROP TRIGGER c_complete_task ON tasks;
DROP TRIGGER e_open_ingestion ON ingestions;
DROP TRIGGER e_guard_ingestion ON ingestions;
DROP TRIGGER e_open_case ON cases;
DROP TRIGGER e_restore_case ON cases;
DROP TRIGGER e_guard_case ON cases;
DROP TRIGGER c_keep_decided_at ON cases;
DROP FUNCTION cases.open_case_1(), cases.restore_case_1(), cases.guard_case_2(), cases.keep_decided_at_1(),
    cases.guard_ingestion_1(), cases.complete_task_1(), cases.is_blank_1(text), cases.is_redacted_1(text, text);
ALTER TABLE cases DROP CONSTRAINT cases_valid_until_check;

CREATE FUNCTION cases.guard_case_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    acting_user uuid := nullif(current_setting('app.user_id', true), '')::uuid;
    is_tenant boolean := current_user = 'fastlane_tenant';
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF is_tenant AND NEW.status IS DISTINCT FROM 'pending' THEN
            RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'status', MESSAGE = 'a case is created as pending';
        END IF;
        IF is_tenant OR NEW.created_by IS NULL THEN
            NEW.created_by := coalesce(acting_user, NEW.created_by);
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.created_by IS DISTINCT FROM OLD.created_by THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'created_by', MESSAGE = 'created_by cannot be changed';
    END IF;
    IF is_tenant AND NEW.status IS DISTINCT FROM OLD.status AND NEW.status IN ('approved', 'denied')
       AND current_setting('app.user_role', true) IS DISTINCT FROM 'clinician'
       AND current_setting('app.user_role', true) IS DISTINCT FROM 'admin' THEN
        RAISE EXCEPTION USING ERRCODE = 'FL403', MESSAGE = 'only a clinician or an admin decides a case';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER e_guard_case BEFORE INSERT OR UPDATE ON cases
    FOR EACH ROW EXECUTE FUNCTION cases.guard_case_1();
REVOKE EXECUTE ON FUNCTION cases.guard_case_1() FROM PUBLIC;
