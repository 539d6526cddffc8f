-- The boundary: roles, and the functions that isolate a table.
-- Frozen: the migration that names this file has landed.

-- Roles belong to the cluster, not to this database: another one may have made them.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY[
        'fastlane_tenant',    -- a request of one tenant
        'fastlane_platform',  -- an operator of the whole platform
        'fastlane_authn',     -- a request that is not identified yet
        'fastlane_identity',  -- owns the functions that identify
        'fastlane_auditor'    -- owns the functions that write the trail
    ] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$$;

CREATE SCHEMA tenancy;

-- Hands a SECURITY DEFINER function over to a NOLOGIN role. Under FORCE the owner of the
-- tables sees nothing through a policy either, so that a definer function of the owner is
-- blind; it belongs to a role with a policy of its own. The membership that ALTER … OWNER
-- asks for, and CREATE on the schema, last only as long as this call.
CREATE FUNCTION tenancy.hand_over(routine regprocedure, new_owner regrole)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    home regnamespace := (SELECT pronamespace FROM pg_proc WHERE oid = routine);
BEGIN
    EXECUTE format('GRANT %s TO CURRENT_USER', new_owner);
    EXECUTE format('GRANT CREATE ON SCHEMA %s TO %s', home, new_owner);
    EXECUTE format('ALTER FUNCTION %s OWNER TO %s', routine, new_owner);
    EXECUTE format('REVOKE CREATE ON SCHEMA %s FROM %s', home, new_owner);
    EXECUTE format('REVOKE %s FROM CURRENT_USER', new_owner);
END
$$;

-- BEFORE INSERT: a row that names no tenant belongs to the bound one. Piccolo inserts an
-- explicit NULL, so that a column default would never fire. A tenant cannot backdate.
CREATE FUNCTION tenancy.assign_tenant_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.tenant_id IS NULL THEN
        NEW.tenant_id := nullif(current_setting('app.tenant_id', true), '')::uuid;
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION tenancy.stamp_created_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id IS NULL THEN
        NEW.id := gen_random_uuid();
    END IF;
    IF NEW.created_at IS NULL OR current_user = 'fastlane_tenant' THEN
        NEW.created_at := now();
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION tenancy.stamp_updated_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.updated_at IS NULL OR current_user = 'fastlane_tenant' THEN
            NEW.updated_at := now();
        END IF;
        RETURN NEW;
    END IF;
    -- An update that changes nothing else leaves the time, and so no audit row.
    NEW.updated_at := OLD.updated_at;
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END
$$;

-- BEFORE UPDATE: a row keeps its key, its tenant and its birth. The time is kept in
-- silence, because a browser sends it back with fewer digits than it got.
CREATE FUNCTION tenancy.keep_identity_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id IS DISTINCT FROM OLD.id THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'id', MESSAGE = 'id cannot be changed';
    END IF;
    IF TG_ARGV[0] = 'tenant_id' THEN
        IF NEW.tenant_id IS DISTINCT FROM OLD.tenant_id THEN
            RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'tenant_id',
                MESSAGE = 'tenant_id cannot be changed';
        END IF;
    END IF;
    NEW.created_at := OLD.created_at;
    RETURN NEW;
END
$$;

-- Isolates a table whose column tenant_key names the tenant, and lets the tenant role do
-- what tenant_grants says. Two policies on purpose: the permissive one says that a tenant
-- is bound, the restrictive one that the row is this tenant's, so that no permissive policy
-- that is added later can widen access.
-- https://www.postgresql.org/docs/current/ddl-rowsecurity.html
CREATE FUNCTION tenancy.isolate_table(
    target regclass,
    tenant_grants text DEFAULT 'SELECT, INSERT, UPDATE, DELETE',
    platform_grants text DEFAULT 'SELECT, INSERT, UPDATE, DELETE',
    tenant_key name DEFAULT 'tenant_id'
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    columns name[] := ARRAY(
        SELECT attname FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped
    );
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format(
        'CREATE POLICY tenant_bound ON %s TO fastlane_tenant
         USING ((SELECT nullif(current_setting(''app.tenant_id'', true), '''')) IS NOT NULL)', target);
    EXECUTE format(
        'CREATE POLICY tenant_isolation ON %s AS RESTRICTIVE TO fastlane_tenant
         USING (%I = (SELECT nullif(current_setting(''app.tenant_id'', true), '''')::uuid))',
        target, tenant_key);
    EXECUTE format('CREATE POLICY platform ON %s TO fastlane_platform USING (true)', target);
    EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', target);
    EXECUTE format('GRANT %s ON %s TO fastlane_tenant', tenant_grants, target);
    EXECUTE format('GRANT %s ON %s TO fastlane_platform', platform_grants, target);

    -- Triggers of one moment fire in the order of their names.
    IF tenant_key = 'tenant_id' THEN
        EXECUTE format('CREATE TRIGGER a_assign_tenant BEFORE INSERT ON %s
                        FOR EACH ROW EXECUTE FUNCTION tenancy.assign_tenant_1()', target);
    END IF;
    EXECUTE format('CREATE TRIGGER b_stamp_created BEFORE INSERT ON %s
                    FOR EACH ROW EXECUTE FUNCTION tenancy.stamp_created_1()', target);
    EXECUTE format('CREATE TRIGGER c_keep_identity BEFORE UPDATE ON %s
                    FOR EACH ROW EXECUTE FUNCTION tenancy.keep_identity_1(%L)', target, tenant_key);
    IF 'updated_at' = ANY (columns) THEN
        EXECUTE format('CREATE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON %s
                        FOR EACH ROW EXECUTE FUNCTION tenancy.stamp_updated_1()', target);
    END IF;
END
$$;

-- Takes back what isolate_table did, for a migration's way backwards.
CREATE FUNCTION tenancy.release_table(target regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    item name;
BEGIN
    FOR item IN SELECT polname FROM pg_policy WHERE polrelid = target LOOP
        EXECUTE format('DROP POLICY %I ON %s', item, target);
    END LOOP;
    FOR item IN SELECT tgname FROM pg_trigger WHERE tgrelid = target AND NOT tgisinternal LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', item, target);
    END LOOP;
    EXECUTE format('REVOKE ALL ON %s FROM fastlane_tenant, fastlane_platform, fastlane_authn,
                    fastlane_identity, fastlane_auditor', target);
    EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', target);
END
$$;

-- Tenants and users ----------------------------------------------------------

-- The seed gives these columns no default; Piccolo writes one for each Python default.
ALTER TABLE tenants ALTER COLUMN slug DROP DEFAULT, ALTER COLUMN name DROP DEFAULT;
ALTER TABLE users
    ALTER COLUMN email DROP DEFAULT,
    ALTER COLUMN name DROP DEFAULT,
    ALTER COLUMN role DROP DEFAULT,
    ALTER COLUMN auth_id DROP DEFAULT;

ALTER TABLE tenants ADD CONSTRAINT tenants_slug_check CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$');
ALTER TABLE users ADD CONSTRAINT users_role_check CHECK (role IN ('admin', 'clinician', 'staff'));

-- What a composite foreign key of a tenant's row refers to.
ALTER TABLE users ADD CONSTRAINT users_tenant_id_id_key UNIQUE (tenant_id, id);
CREATE INDEX users_tenant_id_created_at_id_idx ON users (tenant_id, created_at DESC, id);

-- A form sends every column back: all may be written, and triggers keep what is not the tenant's.
SELECT tenancy.isolate_table('tenants', 'SELECT, UPDATE', tenant_key => 'id');
SELECT tenancy.isolate_table('users');

-- The token's subject decides who one is: only the command line and an accepted invitation
-- write it, never a request of a tenant or of an operator.
CREATE FUNCTION tenancy.keep_subject_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = 'fastlane_tenant' OR nullif(current_setting('app.operator_id', true), '') IS NOT NULL THEN
        IF TG_OP = 'INSERT' THEN
            IF NEW.auth_id IS NOT NULL THEN
                RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'auth_id',
                    MESSAGE = 'auth_id is set by the person who accepts the invitation';
            END IF;
        ELSIF NEW.auth_id IS DISTINCT FROM OLD.auth_id THEN
            RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'auth_id',
                MESSAGE = 'auth_id is set by the person who accepts the invitation';
        END IF;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER e_keep_subject BEFORE INSERT OR UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION tenancy.keep_subject_1();

CREATE FUNCTION tenancy.keep_slug_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = 'fastlane_tenant' AND NEW.slug IS DISTINCT FROM OLD.slug THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'slug', MESSAGE = 'the platform gives a tenant its slug';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER e_keep_slug BEFORE UPDATE ON tenants
    FOR EACH ROW EXECUTE FUNCTION tenancy.keep_slug_1();

-- Identity -------------------------------------------------------------------

GRANT USAGE ON SCHEMA tenancy TO fastlane_authn;
GRANT SELECT ON tenants, users TO fastlane_identity;
CREATE POLICY identity ON tenants FOR SELECT TO fastlane_identity USING (true);
CREATE POLICY identity ON users FOR SELECT TO fastlane_identity USING (true);

CREATE FUNCTION tenancy.identify_subject_1(subject text)
RETURNS TABLE (user_id uuid, tenant_id uuid, role text, is_active boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT u.id, u.tenant_id, u.role, u.is_active FROM public.users u WHERE u.auth_id = subject
$$;

-- Operators ------------------------------------------------------------------

ALTER TABLE operators
    ALTER COLUMN username DROP DEFAULT,
    ALTER COLUMN password DROP DEFAULT,
    ALTER COLUMN email DROP DEFAULT;
ALTER TABLE operators ADD CONSTRAINT operators_scope_check
    CHECK (superuser = (tenant_id IS NULL) AND (tenant_id IS NULL) = (user_id IS NULL));
ALTER TABLE operators DROP CONSTRAINT operators_user_id_fkey;
ALTER TABLE operators ADD CONSTRAINT operators_user_id_fkey
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE ON UPDATE CASCADE;
CREATE INDEX operators_tenant_id_user_id_idx ON operators (tenant_id, user_id);
ALTER TABLE operator_sessions ADD CONSTRAINT operator_sessions_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES operators (id) ON DELETE CASCADE;
CREATE UNIQUE INDEX operator_sessions_token_idx ON operator_sessions (token);
CREATE INDEX operator_sessions_user_id_idx ON operator_sessions (user_id);

ALTER TABLE operators ENABLE ROW LEVEL SECURITY;
ALTER TABLE operators FORCE ROW LEVEL SECURITY;
ALTER TABLE operator_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE operator_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY own_row ON operators TO fastlane_tenant
    USING (id = (SELECT nullif(current_setting('app.operator_id', true), '')::integer)
           AND tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY own_row ON operator_sessions TO fastlane_tenant
    USING (user_id IN (SELECT id FROM operators));
CREATE POLICY platform ON operators TO fastlane_platform USING (true);
CREATE POLICY platform ON operator_sessions TO fastlane_platform USING (true);
CREATE POLICY authn ON operators TO fastlane_authn USING (true);
CREATE POLICY authn ON operator_sessions TO fastlane_authn USING (true);
CREATE POLICY identity ON operators FOR SELECT TO fastlane_identity USING (true);
CREATE POLICY identity ON operator_sessions FOR SELECT TO fastlane_identity USING (true);

GRANT SELECT, UPDATE (password, last_login) ON operators TO fastlane_tenant;
GRANT SELECT, UPDATE (expiry_date), DELETE ON operator_sessions TO fastlane_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON operators, operator_sessions TO fastlane_platform;
GRANT SELECT, UPDATE (last_login) ON operators TO fastlane_authn;
GRANT SELECT, INSERT, DELETE ON operator_sessions TO fastlane_authn;
GRANT SELECT ON operators, operator_sessions TO fastlane_identity;
GRANT USAGE ON SEQUENCE operators_id_seq, operator_sessions_id_seq TO fastlane_platform;
GRANT USAGE ON SEQUENCE operator_sessions_id_seq TO fastlane_authn;

CREATE FUNCTION tenancy.identify_session_1(token_digest text)
RETURNS TABLE (operator_id integer, username text, tenant_id uuid, user_id uuid, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT o.id, o.username, o.tenant_id, o.user_id, u.role
      FROM public.operator_sessions s
      JOIN public.operators o ON o.id = s.user_id AND o.active AND o.admin
      LEFT JOIN public.users u ON u.id = o.user_id AND u.tenant_id = o.tenant_id
     WHERE s.token = token_digest AND (o.user_id IS NULL OR u.is_active)
$$;

-- Migrations -----------------------------------------------------------------

GRANT SELECT ON migration TO fastlane_identity, fastlane_platform;
CREATE FUNCTION tenancy.applied_migrations_1() RETURNS TABLE (app_name text, migration_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT m.app_name, m.name FROM public.migration m
$$;

DO $$
DECLARE
    routine regprocedure;
BEGIN
    FOREACH routine IN ARRAY ARRAY[
        'tenancy.identify_subject_1(text)',
        'tenancy.identify_session_1(text)',
        'tenancy.applied_migrations_1()'
    ]::regprocedure[] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO fastlane_authn', routine);
        PERFORM tenancy.hand_over(routine, 'fastlane_identity');
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION
    tenancy.hand_over(regprocedure, regrole),
    tenancy.isolate_table(regclass, text, text, name),
    tenancy.release_table(regclass)
    FROM PUBLIC;
