-- Invitations: their isolation, who accepts one, and that a tenant keeps an admin.
-- Frozen: the migration that names this file has landed.

-- Piccolo writes a database default for each Python default; what an invitation says has none.
ALTER TABLE invitations ALTER COLUMN code_digest DROP DEFAULT;
ALTER TABLE invitations
    ADD CONSTRAINT invitations_code_digest_check CHECK (octet_length(code_digest) = 32),
    ADD CONSTRAINT invitations_expires_at_check CHECK (expires_at <= created_at + interval '7 days');

-- Composite: an invitation cannot be for another tenant's user, whoever writes it.
-- A new foreign key is checked by a query of the owner, whom FORCE blinds: every row would
-- seem to violate it. Nobody sees the gap, which ends with this transaction.
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE invitations DROP CONSTRAINT invitations_user_id_fkey;
ALTER TABLE invitations ADD CONSTRAINT invitations_user_id_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES users (tenant_id, id) ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE users FORCE ROW LEVEL SECURITY;

-- A new one replaces the old: none is changed but by who accepts it.
SELECT tenancy.isolate_table('invitations', 'SELECT, INSERT, DELETE', 'SELECT, INSERT, DELETE');

-- Accepting ----------------------------------------------------------------------

GRANT SELECT, UPDATE (accepted_at) ON invitations TO fastlane_registrar;
GRANT SELECT (id, tenant_id, auth_id, is_active), UPDATE (auth_id) ON users TO fastlane_registrar;
CREATE POLICY registrar ON invitations TO fastlane_registrar USING (true);
CREATE POLICY registrar ON users TO fastlane_registrar USING (true);

-- Makes the subject the invited user, and says whether there was one: nothing tells a code that nobody was given from
-- one that was used, has expired, or is of a user who is deactivated or somebody already.
CREATE FUNCTION tenancy.accept_invitation_1(offered bytea, subject text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    invited record;
BEGIN
    SELECT i.id, i.tenant_id, i.user_id INTO invited
      FROM public.invitations i
      JOIN public.users u ON u.tenant_id = i.tenant_id AND u.id = i.user_id
     WHERE i.code_digest = offered AND i.accepted_at IS NULL AND i.expires_at > clock_timestamp()
       AND u.auth_id IS NULL AND u.is_active
       FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- On the trail it is the user's own doing.
    PERFORM set_config('app.tenant_id', invited.tenant_id::text, true),
            set_config('app.user_id', invited.user_id::text, true),
            set_config('app.actor', 'user:' || invited.user_id, true);
    UPDATE public.invitations SET accepted_at = clock_timestamp() WHERE id = invited.id;
    UPDATE public.users SET auth_id = subject WHERE tenant_id = invited.tenant_id AND id = invited.user_id;
    RETURN true;
END
$$;
REVOKE EXECUTE ON FUNCTION tenancy.accept_invitation_1(bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.accept_invitation_1(bytea, text) TO fastlane_authn;
SELECT tenancy.hand_over('tenancy.accept_invitation_1(bytea, text)', 'fastlane_registrar');

-- The last admin -------------------------------------------------------------------

-- AFTER, when all rows of the statement are changed: two may change places.
CREATE FUNCTION tenancy.keep_an_admin_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- One after the other in each tenant. Where the tenant is gone its users go too.
    PERFORM FROM public.tenants t WHERE t.id = OLD.tenant_id FOR NO KEY UPDATE;
    IF FOUND THEN
        IF current_setting('transaction_isolation') = 'repeatable read' THEN
            -- It reads as of its first statement: only a lock finds out that the row has changed since.
            PERFORM FROM public.users u
              WHERE u.tenant_id = OLD.tenant_id AND u.role = 'admin' AND u.is_active
              LIMIT 1 FOR SHARE SKIP LOCKED;
        ELSE
            PERFORM FROM public.users u
              WHERE u.tenant_id = OLD.tenant_id AND u.role = 'admin' AND u.is_active LIMIT 1;
        END IF;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'FL409', COLUMN = TG_ARGV[0],
                MESSAGE = 'a tenant keeps an active admin: make somebody else one first';
        END IF;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER f_keep_active AFTER UPDATE OF is_active ON users
    FOR EACH ROW WHEN (OLD.role = 'admin' AND OLD.is_active AND NOT NEW.is_active)
    EXECUTE FUNCTION tenancy.keep_an_admin_1('is_active');
CREATE TRIGGER f_keep_admin AFTER UPDATE OF role ON users
    FOR EACH ROW WHEN (OLD.role = 'admin' AND OLD.is_active AND NEW.role <> 'admin')
    EXECUTE FUNCTION tenancy.keep_an_admin_1('role');
CREATE TRIGGER f_keep_row AFTER DELETE ON users
    FOR EACH ROW WHEN (OLD.role = 'admin' AND OLD.is_active)
    EXECUTE FUNCTION tenancy.keep_an_admin_1('');
REVOKE EXECUTE ON FUNCTION tenancy.keep_an_admin_1() FROM PUBLIC;
