-- Rate limits: how many requests each user and each tenant has taken in its window of 60 s.
-- Frozen: the migration that names this file has landed.

-- One row a key, begun anew when its window has ended. The kind belongs to the key, because
-- a client may choose a user's id, and could choose a tenant's. Unlogged: what a crash
-- forgets is one minute, and a commit need not wait for the disk.
CREATE UNLOGGED TABLE tenancy.request_windows (
    kind text NOT NULL CHECK (kind IN ('user', 'tenant')),
    key uuid NOT NULL,
    window_start timestamptz NOT NULL,
    taken integer NOT NULL CHECK (taken >= 0),
    PRIMARY KEY (kind, key)
-- Room for the next version of a row on its page, so that counting touches no index.
) WITH (fillfactor = 50);
CREATE INDEX request_windows_window_start_idx ON tenancy.request_windows (window_start);

REVOKE ALL ON tenancy.request_windows FROM PUBLIC;
GRANT USAGE ON SCHEMA tenancy TO fastlane_identity;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.request_windows TO fastlane_identity;

-- Takes up to `wanted` requests, for the user and for its tenant alike: what one limit
-- refuses is not taken from the other. Every call locks the user's row before the
-- tenant's, so that no two wait for each other.
CREATE FUNCTION tenancy.take_requests_1(
    for_user uuid, for_tenant uuid, wanted integer, user_limit integer, tenant_limit integer
) RETURNS TABLE (
    granted integer,
    user_remaining integer,
    tenant_remaining integer,
    user_seconds double precision,   -- until the user's window ends
    tenant_seconds double precision  -- until the tenant's does
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    a_minute CONSTANT interval := '60 seconds';
    moment CONSTANT timestamptz := clock_timestamp();
    user_before integer;
    tenant_before integer;
BEGIN
    -- A stored window may be younger than the moment, when this call waited for its row; it
    -- counts. One that lies further ahead was left by a clock that has been put back.
    WITH counted AS (
        INSERT INTO tenancy.request_windows AS w (kind, key, window_start, taken)
        VALUES ('user', for_user, moment, wanted), ('tenant', for_tenant, moment, wanted)
        ON CONFLICT (kind, key) DO UPDATE SET (window_start, taken) = (
            SELECT CASE WHEN is_running THEN w.window_start ELSE moment END,
                   CASE WHEN is_running THEN w.taken ELSE 0 END + wanted
              FROM (SELECT w.window_start > moment - a_minute AND w.window_start < moment + a_minute) AS it (is_running))
        RETURNING w.kind, w.taken - wanted AS before, w.window_start + a_minute - clock_timestamp() AS rest
    )
    SELECT u.before, t.before, extract(epoch FROM u.rest), extract(epoch FROM t.rest)
      INTO user_before, tenant_before, user_seconds, tenant_seconds
      FROM counted u, counted t WHERE u.kind = 'user' AND t.kind = 'tenant';

    granted := greatest(0, least(wanted, user_limit - user_before, tenant_limit - tenant_before));
    user_remaining := greatest(0, user_limit - user_before - granted);
    tenant_remaining := greatest(0, tenant_limit - tenant_before - granted);
    IF granted < wanted THEN
        UPDATE tenancy.request_windows w SET taken = w.taken - (wanted - granted)
         WHERE (w.kind, w.key) IN (('user', for_user), ('tenant', for_tenant));
    END IF;

    -- Once in a window of each tenant, what ended long ago; what is in use is left to the next.
    IF tenant_before = 0 THEN
        DELETE FROM tenancy.request_windows WHERE (kind, key) IN (
            SELECT w.kind, w.key FROM tenancy.request_windows w
             WHERE w.window_start < moment - 2 * a_minute FOR UPDATE SKIP LOCKED);
    END IF;
    RETURN NEXT;
END
$$;

REVOKE EXECUTE ON FUNCTION tenancy.take_requests_1(uuid, uuid, integer, integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.take_requests_1(uuid, uuid, integer, integer, integer) TO fastlane_authn;
SELECT tenancy.hand_over('tenancy.take_requests_1(uuid, uuid, integer, integer, integer)', 'fastlane_identity');
