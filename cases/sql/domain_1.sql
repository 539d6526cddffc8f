-- The domain's constraints, isolation, trail and events.
-- Frozen: the migration that names this file has landed.

CREATE SCHEMA cases;

-- The seed gives these columns no default; Piccolo writes one for each Python default.
ALTER TABLE ingestions
    ALTER COLUMN source_type DROP DEFAULT,
    ALTER COLUMN source_metadata DROP DEFAULT,
    ALTER COLUMN status DROP DEFAULT;
ALTER TABLE cases
    ALTER COLUMN member_id_hash DROP DEFAULT,
    ALTER COLUMN payer DROP DEFAULT,
    ALTER COLUMN status DROP DEFAULT,
    ALTER COLUMN diagnosis_codes DROP DEFAULT,
    ALTER COLUMN confidence_json DROP DEFAULT,
    ALTER COLUMN extracted_data DROP DEFAULT;
ALTER TABLE case_codes ALTER COLUMN code_type DROP DEFAULT, ALTER COLUMN code DROP DEFAULT;
ALTER TABLE tasks ALTER COLUMN title DROP DEFAULT;
ALTER TABLE rulesets
    ALTER COLUMN payer DROP DEFAULT,
    ALTER COLUMN procedure DROP DEFAULT,
    ALTER COLUMN rules_json DROP DEFAULT;

-- Closed sets, and JSON documents that are objects.
ALTER TABLE ingestions
    ADD CONSTRAINT ingestions_source_type_check CHECK (source_type IN ('email', 'pdf')),
    ADD CONSTRAINT ingestions_status_check CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
    ADD CONSTRAINT ingestions_source_metadata_check CHECK (jsonb_typeof(source_metadata) = 'object');
ALTER TABLE cases
    ADD CONSTRAINT cases_status_check CHECK (status IN ('pending', 'approved', 'denied', 'more_info_needed')),
    ADD CONSTRAINT cases_priority_check CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
    ADD CONSTRAINT cases_diagnosis_codes_check CHECK (array_position(diagnosis_codes, NULL) IS NULL),
    ADD CONSTRAINT cases_confidence_json_check CHECK (jsonb_typeof(confidence_json) = 'object'),
    ADD CONSTRAINT cases_extracted_data_check CHECK (jsonb_typeof(extracted_data) = 'object'),
    ADD CONSTRAINT cases_metadata_json_check CHECK (jsonb_typeof(metadata_json) = 'object');
ALTER TABLE case_codes ADD CONSTRAINT case_codes_code_type_check CHECK (code_type IN ('CPT', 'HCPCS'));
ALTER TABLE tasks
    ADD CONSTRAINT tasks_status_check CHECK (status IN ('pending', 'in_progress', 'completed', 'cancelled')),
    ADD CONSTRAINT tasks_priority_check CHECK (priority IN ('low', 'normal', 'high', 'urgent'));
ALTER TABLE rulesets ADD CONSTRAINT rulesets_rules_json_check CHECK (jsonb_typeof(rules_json) = 'object');

-- Composite keys: no row can point into another tenant, whoever writes it.
ALTER TABLE ingestions ADD CONSTRAINT ingestions_tenant_id_id_key UNIQUE (tenant_id, id);
ALTER TABLE cases ADD CONSTRAINT cases_tenant_id_id_key UNIQUE (tenant_id, id);

-- A new foreign key is checked by a query of the owner, whom FORCE blinds: every row would
-- seem to violate it. Nobody sees the gap, which ends with this transaction.
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE cases DROP CONSTRAINT cases_ingestion_id_fkey, DROP CONSTRAINT cases_created_by_fkey;
ALTER TABLE cases
    ADD CONSTRAINT cases_ingestion_id_fkey FOREIGN KEY (tenant_id, ingestion_id)
        REFERENCES ingestions (tenant_id, id) ON DELETE SET NULL (ingestion_id) ON UPDATE CASCADE,
    ADD CONSTRAINT cases_created_by_fkey FOREIGN KEY (tenant_id, created_by)
        REFERENCES users (tenant_id, id) ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE case_codes DROP CONSTRAINT case_codes_case_id_fkey;
ALTER TABLE case_codes ADD CONSTRAINT case_codes_case_id_fkey FOREIGN KEY (tenant_id, case_id)
    REFERENCES cases (tenant_id, id) ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE tasks DROP CONSTRAINT tasks_case_id_fkey, DROP CONSTRAINT tasks_assigned_to_fkey;
ALTER TABLE tasks
    ADD CONSTRAINT tasks_case_id_fkey FOREIGN KEY (tenant_id, case_id)
        REFERENCES cases (tenant_id, id) ON DELETE CASCADE ON UPDATE CASCADE,
    ADD CONSTRAINT tasks_assigned_to_fkey FOREIGN KEY (tenant_id, assigned_to)
        REFERENCES users (tenant_id, id) ON DELETE SET NULL (assigned_to) ON UPDATE CASCADE;

ALTER TABLE users FORCE ROW LEVEL SECURITY;

-- The seed's composite index, the newest-first lists of a tenant, and what the keys above
-- need when the row they refer to is deleted.
CREATE INDEX case_codes_code_type_code_idx ON case_codes (code_type, code);
CREATE INDEX ingestions_tenant_id_created_at_id_idx ON ingestions (tenant_id, created_at DESC, id);
CREATE INDEX cases_tenant_id_created_at_id_idx ON cases (tenant_id, created_at DESC, id);
CREATE INDEX cases_tenant_id_status_created_at_id_idx ON cases (tenant_id, status, created_at DESC, id);
CREATE INDEX cases_tenant_id_member_id_hash_idx ON cases (tenant_id, member_id_hash);
CREATE INDEX cases_tenant_id_ingestion_id_idx ON cases (tenant_id, ingestion_id);
CREATE INDEX cases_tenant_id_created_by_idx ON cases (tenant_id, created_by);
CREATE INDEX case_codes_tenant_id_case_id_idx ON case_codes (tenant_id, case_id);
CREATE INDEX case_codes_tenant_id_created_at_id_idx ON case_codes (tenant_id, created_at DESC, id);
CREATE INDEX tasks_tenant_id_case_id_idx ON tasks (tenant_id, case_id);
CREATE INDEX tasks_tenant_id_assigned_to_status_idx ON tasks (tenant_id, assigned_to, status);
CREATE INDEX tasks_tenant_id_status_due_date_idx ON tasks (tenant_id, status, due_date);
CREATE INDEX tasks_tenant_id_created_at_id_idx ON tasks (tenant_id, created_at DESC, id);
CREATE INDEX rulesets_tenant_id_payer_procedure_idx ON rulesets (tenant_id, payer, procedure);
CREATE INDEX rulesets_tenant_id_created_at_id_idx ON rulesets (tenant_id, created_at DESC, id);

SELECT tenancy.isolate_table(name::regclass)
  FROM unnest(ARRAY['ingestions', 'cases', 'case_codes', 'tasks', 'rulesets']) AS name;

-- What a case's children do not say follows from the case; what a case does not say, from
-- the request.
CREATE FUNCTION cases.follow_case_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.tenant_id IS NULL THEN
        NEW.tenant_id := (SELECT c.tenant_id FROM public.cases c WHERE c.id = NEW.case_id);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER a_follow_case BEFORE INSERT ON case_codes
    FOR EACH ROW EXECUTE FUNCTION cases.follow_case_1();
CREATE TRIGGER a_follow_case BEFORE INSERT ON tasks
    FOR EACH ROW EXECUTE FUNCTION cases.follow_case_1();

-- Who opened a case is the database's knowledge. A tenant opens cases as pending, and only
-- a clinician or an admin decides them.
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

-- The cascade from users to cases is for the deletion of a tenant, which the tables' owner
-- carries out; a person who opened cases is deactivated, not deleted.
CREATE FUNCTION cases.keep_creator_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_user IN ('fastlane_tenant', 'fastlane_platform')
       AND EXISTS (SELECT FROM public.cases c WHERE c.created_by = OLD.id AND c.tenant_id = OLD.tenant_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'FL409',
            MESSAGE = 'this user created cases and cannot be deleted; set is_active to false instead';
    END IF;
    RETURN OLD;
END
$$;
CREATE TRIGGER e_keep_creator BEFORE DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION cases.keep_creator_1();

SELECT audit.track_table('ingestions', 'ingestion');
SELECT audit.track_table('cases', 'case');
SELECT audit.track_table('case_codes', 'case_code');
SELECT audit.track_table('tasks', 'task');
SELECT audit.track_table('rulesets', 'ruleset');

-- case_created and case_status_changed, told by the database itself.
CREATE FUNCTION cases.tell_events_1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.events (tenant_id, user_id, event_type, entity_type, entity_id, metadata)
        VALUES (NEW.tenant_id, audit.acting_user_1(NEW.tenant_id), 'case_created', 'case', NEW.id,
                jsonb_build_object('status', NEW.status, 'priority', NEW.priority, 'payer', NEW.payer));
    ELSE
        INSERT INTO public.events (tenant_id, user_id, event_type, entity_type, entity_id, metadata)
        VALUES (NEW.tenant_id, audit.acting_user_1(NEW.tenant_id), 'case_status_changed', 'case', NEW.id,
                jsonb_build_object('from', OLD.status, 'to', NEW.status));
    END IF;
    RETURN NULL;
END
$$;
SELECT tenancy.hand_over('cases.tell_events_1()', 'fastlane_auditor');
CREATE TRIGGER y_tell_created AFTER INSERT ON cases
    FOR EACH ROW EXECUTE FUNCTION cases.tell_events_1();
CREATE TRIGGER y_tell_status_changed AFTER UPDATE OF status ON cases
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION cases.tell_events_1();
