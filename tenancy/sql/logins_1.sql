-- Logins of operators: what ends their sessions, how often a guess may be tried, and second factors.
-- Frozen: the migration that names this file has landed.

-- Owns the functions that end sessions and that let an invited person in. Roles belong to the cluster.
DO $$
BEGIN
    CREATE ROLE fastlane_registrar NOLOGIN NOINHERIT;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;
GRANT USAGE ON SCHEMA tenancy TO fastlane_registrar;

-- Sessions end, whoever makes the change --------------------------------------

GRANT SELECT (id, tenant_id, user_id) ON operators TO fastlane_registrar;
GRANT SELECT (id, user_id), DELETE ON operator_sessions TO fastlane_registrar;
CREATE POLICY registrar ON operators FOR SELECT TO fastlane_registrar USING (true);
CREATE POLICY registrar ON operator_sessions TO fastlane_registrar USING (true);

-- An admin who changes a colleague's role does not see the colleague's operator.
CREATE FUNCTION tenancy.end_sessions_1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID = 'public.operators'::regclass THEN
        DELETE FROM public.operator_sessions s WHERE s.user_id = NEW.id;
    ELSE
        DELETE FROM public.operator_sessions s USING public.operators o
         WHERE s.user_id = o.id AND o.tenant_id = NEW.tenant_id AND o.user_id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER f_end_sessions AFTER UPDATE OF password, active, admin, superuser, tenant_id, user_id ON operators
    FOR EACH ROW WHEN (
        (OLD.password, OLD.active, OLD.admin, OLD.superuser, OLD.tenant_id, OLD.user_id)
        IS DISTINCT FROM (NEW.password, NEW.active, NEW.admin, NEW.superuser, NEW.tenant_id, NEW.user_id)
    ) EXECUTE FUNCTION tenancy.end_sessions_1();
CREATE TRIGGER f_end_sessions AFTER UPDATE OF role, is_active ON users
    FOR EACH ROW WHEN ((OLD.role, OLD.is_active) IS DISTINCT FROM (NEW.role, NEW.is_active))
    EXECUTE FUNCTION tenancy.end_sessions_1();
REVOKE EXECUTE ON FUNCTION tenancy.end_sessions_1() FROM PUBLIC;
SELECT tenancy.hand_over('tenancy.end_sessions_1()', 'fastlane_registrar');

-- Attempts ---------------------------------------------------------------------

-- One row a key, begun anew when its window has ended. A key is a digest: of what is tried, or of who tries. Unlogged:
-- what a crash forgets is a few minutes.
CREATE UNLOGGED TABLE tenancy.attempt_windows (
    key bytea PRIMARY KEY CHECK (octet_length(key) = 32),
    window_start timestamptz NOT NULL,
    taken integer NOT NULL CHECK (taken >= 0)
);
CREATE INDEX attempt_windows_window_start_idx ON tenancy.attempt_windows (window_start);
REVOKE ALL ON tenancy.attempt_windows FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.attempt_windows TO fastlane_identity;

-- Takes one attempt of the account and of the address, or of neither: then it tells the seconds until the tighter
-- window ends. Each call locks its rows in the order of their keys, so that no two wait for each other.
CREATE FUNCTION tenancy.take_attempt_1(
    account bytea, address bytea, account_limit integer, address_limit integer, window_seconds integer
) RETURNS double precision LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    length CONSTANT interval := make_interval(secs => window_seconds);
    moment CONSTANT timestamptz := clock_timestamp();
    waits double precision;
    is_new boolean;
BEGIN
    -- A window that lies ahead was left by a clock that has been put back.
    WITH counted AS (
        INSERT INTO tenancy.attempt_windows AS w (key, window_start, taken)
        SELECT k, moment, 1 FROM unnest(ARRAY[account, address]) AS k ORDER BY k
        ON CONFLICT (key) DO UPDATE SET (window_start, taken) = (
            SELECT CASE WHEN is_running THEN w.window_start ELSE moment END,
                   CASE WHEN is_running THEN w.taken ELSE 0 END + 1
              FROM (SELECT w.window_start > moment - length AND w.window_start < moment + length) AS it (is_running))
        RETURNING w.key, w.taken, extract(epoch FROM w.window_start + length - clock_timestamp()) AS seconds
    )
    SELECT max(c.seconds) FILTER (WHERE c.taken > CASE c.key WHEN account THEN account_limit ELSE address_limit END),
           bool_or(c.taken = 1)
      INTO waits, is_new FROM counted c;
    IF waits IS NOT NULL THEN
        UPDATE tenancy.attempt_windows w SET taken = w.taken - 1 WHERE w.key IN (account, address);
    END IF;
    -- What ended long ago; what is in use is left to the next.
    IF is_new THEN
        DELETE FROM tenancy.attempt_windows WHERE key IN (
            SELECT w.key FROM tenancy.attempt_windows w WHERE w.window_start < moment - interval '1 hour'
               FOR UPDATE SKIP LOCKED);
    END IF;
    RETURN waits;
END
$$;

CREATE FUNCTION tenancy.give_back_attempt_1(account bytea, address bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM tenancy.attempt_windows w WHERE w.key IN (account, address) ORDER BY w.key FOR UPDATE;
    UPDATE tenancy.attempt_windows w SET taken = greatest(0, w.taken - 1) WHERE w.key IN (account, address);
END
$$;
REVOKE EXECUTE ON FUNCTION tenancy.take_attempt_1(bytea, bytea, integer, integer, integer),
    tenancy.give_back_attempt_1(bytea, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.take_attempt_1(bytea, bytea, integer, integer, integer),
    tenancy.give_back_attempt_1(bytea, bytea) TO fastlane_authn;
SELECT tenancy.hand_over('tenancy.take_attempt_1(bytea, bytea, integer, integer, integer)', 'fastlane_identity');
SELECT tenancy.hand_over('tenancy.give_back_attempt_1(bytea, bytea)', 'fastlane_identity');

-- Second factors -----------------------------------------------------------------

ALTER TABLE operator_authenticators
    ALTER COLUMN secret DROP DEFAULT,
    ALTER COLUMN recovery_codes DROP DEFAULT,
    ADD CONSTRAINT operator_authenticators_secret_check CHECK (secret LIKE 'fernet-%');
ALTER TABLE operator_authenticators ENABLE ROW LEVEL SECURITY;
ALTER TABLE operator_authenticators FORCE ROW LEVEL SECURITY;
-- An operator sees the own one, of the platform no more: nobody's second factor is anybody else's business.
CREATE POLICY own_row ON operator_authenticators TO fastlane_tenant, fastlane_platform
    USING (operator_id = (SELECT nullif(current_setting('app.operator_id', true), '')::integer));
-- A script, for who has lost it: `piccolo tenancy forget_authenticator`.
CREATE POLICY script ON operator_authenticators TO fastlane_platform
    USING ((SELECT nullif(current_setting('app.operator_id', true), '')) IS NULL);
CREATE POLICY authn ON operator_authenticators TO fastlane_authn USING (true);
GRANT SELECT, INSERT, DELETE, UPDATE (last_step, recovery_codes, confirmed_at) ON operator_authenticators
    TO fastlane_tenant, fastlane_platform;
GRANT SELECT, UPDATE (last_step, recovery_codes) ON operator_authenticators TO fastlane_authn;
GRANT USAGE ON SEQUENCE operator_authenticators_id_seq TO fastlane_tenant, fastlane_platform;
