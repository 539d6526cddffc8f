SELECT audit.track_table('ingestions', 'ingestion', told_of_new => '', told_of_changed => '');
SELECT audit.track_table('cases', 'case', told_of_new => '', told_of_changed => '');
SELECT audit.track_table('tasks', 'task', told_of_new => '', told_of_changed => '');
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
