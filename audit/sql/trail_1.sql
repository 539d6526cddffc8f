-- The trail: one audit_logs row for each change of a tenant's row, in the same transaction,
-- whatever made it. Frozen: the migration that names this file has landed.

CREATE SCHEMA audit;

-- The seed gives these columns no default; Piccolo writes one for each Python default.
ALTER TABLE events ALTER COLUMN event_type DROP DEFAULT, ALTER COLUMN entity_type DROP DEFAULT;
ALTER TABLE audit_logs
    ALTER COLUMN action DROP DEFAULT,
    ALTER COLUMN entity_type DROP DEFAULT,
    ALTER COLUMN ip_address DROP DEFAULT,
    ALTER COLUMN actor DROP DEFAULT,
    ALTER COLUMN request_id DROP DEFAULT;

ALTER TABLE audit_logs ADD CONSTRAINT audit_logs_action_check
    CHECK (action IN ('create', 'update', 'delete', 'view'));
ALTER TABLE audit_logs ADD CONSTRAINT audit_logs_changes_check CHECK (jsonb_typeof(changes) = 'object');
ALTER TABLE events ADD CONSTRAINT events_metadata_check CHECK (jsonb_typeof(metadata) = 'object');

-- Composite: no row can point into another tenant, whoever writes it. Only the reference is
-- cleared with the user, not the tenant (PostgreSQL 15+).
-- A new foreign key is checked by a query of the owner, whom FORCE blinds: every row would
-- seem to violate it. Nobody sees the gap, which ends with this transaction.
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE events DROP CONSTRAINT events_user_id_fkey;
ALTER TABLE events ADD CONSTRAINT events_user_id_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES users (tenant_id, id) ON DELETE SET NULL (user_id) ON UPDATE CASCADE;
ALTER TABLE audit_logs DROP CONSTRAINT audit_logs_user_id_fkey;
ALTER TABLE audit_logs ADD CONSTRAINT audit_logs_user_id_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES users (tenant_id, id) ON DELETE SET NULL (user_id) ON UPDATE CASCADE;

ALTER TABLE users FORCE ROW LEVEL SECURITY;

CREATE INDEX events_entity_type_entity_id_idx ON events (entity_type, entity_id);
CREATE INDEX events_tenant_id_user_id_idx ON events (tenant_id, user_id);
CREATE INDEX events_tenant_id_created_at_id_idx ON events (tenant_id, created_at DESC, id);
CREATE INDEX audit_logs_entity_type_entity_id_idx ON audit_logs (entity_type, entity_id);
CREATE INDEX audit_logs_tenant_id_user_id_idx ON audit_logs (tenant_id, user_id);
CREATE INDEX audit_logs_tenant_id_created_at_id_idx ON audit_logs (tenant_id, created_at DESC, id);

SELECT tenancy.isolate_table('events', 'SELECT', 'SELECT');
SELECT tenancy.isolate_table('audit_logs', 'SELECT', 'SELECT');

GRANT INSERT ON audit_logs, events TO fastlane_auditor;
GRANT SELECT (id) ON tenants TO fastlane_auditor;
GRANT SELECT (id, tenant_id) ON users TO fastlane_auditor;
CREATE POLICY auditor ON audit_logs FOR INSERT TO fastlane_auditor WITH CHECK (true);
CREATE POLICY auditor ON events FOR INSERT TO fastlane_auditor WITH CHECK (true);
CREATE POLICY auditor ON tenants FOR SELECT TO fastlane_auditor USING (true);
CREATE POLICY auditor ON users FOR SELECT TO fastlane_auditor USING (true);

-- The acting user as audit_logs.user_id may hold it: of the row's own tenant, and still there.
CREATE FUNCTION audit.acting_user_1(of_tenant uuid) RETURNS uuid
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT nullif(current_setting('app.user_id', true), '')::uuid
     WHERE nullif(current_setting('app.tenant_id', true), '')::uuid = of_tenant
$$;

-- Arguments: the entity's name, and the column that names the tenant.
CREATE FUNCTION audit.record_change_1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' AS $$
DECLARE
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) ELSE '{}' END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) ELSE '{}' END;
    row_tenant uuid := (CASE TG_OP WHEN 'DELETE' THEN old_row ELSE new_row END ->> TG_ARGV[1])::uuid;
    row_id uuid := (CASE TG_OP WHEN 'DELETE' THEN old_row ELSE new_row END ->> 'id')::uuid;
    acting_user uuid := audit.acting_user_1(row_tenant);
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT coalesce(jsonb_object_agg(o.key, o.value), '{}'), coalesce(jsonb_object_agg(n.key, n.value), '{}')
          INTO old_row, new_row
          FROM jsonb_each(old_row) o JOIN jsonb_each(new_row) n USING (key)
         WHERE o.value IS DISTINCT FROM n.value;
        IF new_row = '{}' THEN
            RETURN NULL;
        END IF;
    END IF;

    -- In a cascade, which deletes rows or clears references, the tenant or the acting user may
    -- be gone already. The rows of a deleted tenant go along with it, the new one too. The
    -- trigger's depth does not tell: what a foreign key does fires at the depth of its cause.
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND jsonb_path_exists(new_row, '$.* ? (@ == null)')) THEN
        IF NOT EXISTS (SELECT FROM public.tenants t WHERE t.id = row_tenant) THEN
            RETURN NULL;
        END IF;
        acting_user := (SELECT u.id FROM public.users u WHERE u.id = acting_user AND u.tenant_id = row_tenant);
    END IF;

    INSERT INTO public.audit_logs (
        tenant_id, user_id, action, entity_type, entity_id, changes, ip_address, user_agent, actor, request_id
    ) VALUES (
        row_tenant,
        acting_user,
        CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END,
        TG_ARGV[0],
        row_id,
        jsonb_build_object('before', old_row, 'after', new_row),
        nullif(left(current_setting('app.ip_address', true), 45), ''),
        nullif(current_setting('app.user_agent', true), ''),
        coalesce(nullif(left(current_setting('app.actor', true), 255), ''), 'sql:' || session_user),
        nullif(left(current_setting('app.request_id', true), 100), '')
    );
    RETURN NULL;
END
$$;

-- Nobody edits the trail. Two changes come from the schema itself and pass: the rows of a
-- tenant that is gone are deleted, and the reference to a user who is gone is cleared.
CREATE FUNCTION audit.refuse_change_1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF NOT EXISTS (SELECT FROM public.tenants t WHERE t.id = OLD.tenant_id) THEN
            RETURN OLD;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW.user_id IS NULL
           AND to_jsonb(NEW) - 'user_id' = to_jsonb(OLD) - 'user_id'
           AND NOT EXISTS (SELECT FROM public.users u WHERE u.id = OLD.user_id) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'FL403', MESSAGE = 'the audit trail is append-only';
END
$$;

SELECT tenancy.hand_over('audit.record_change_1()', 'fastlane_auditor');
SELECT tenancy.hand_over('audit.refuse_change_1()', 'fastlane_auditor');
GRANT USAGE ON SCHEMA audit TO fastlane_auditor;

CREATE TRIGGER a_append_only BEFORE UPDATE OR DELETE ON audit_logs
    FOR EACH ROW EXECUTE FUNCTION audit.refuse_change_1();
CREATE TRIGGER a_append_only_truncate BEFORE TRUNCATE ON audit_logs
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change_1();

-- Switches the trail on for a tenant table. entity is what audit_logs.entity_type says.
CREATE FUNCTION audit.track_table(target regclass, entity text, tenant_key name DEFAULT 'tenant_id')
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER z_audit AFTER INSERT OR UPDATE OR DELETE ON %s
                    FOR EACH ROW EXECUTE FUNCTION audit.record_change_1(%L, %L)', target, entity, tenant_key);
END
$$;
REVOKE EXECUTE ON FUNCTION audit.track_table(regclass, text, name) FROM PUBLIC;

SELECT audit.track_table('tenants', 'tenant', 'id');
SELECT audit.track_table('users', 'user');
SELECT audit.track_table('events', 'event');
