-- The proof: finished transactions are folded into checkpoints, each of which holds the hash of the one before.
-- A writer never waits for it. Frozen: the migration that names this file has landed.

-- Transaction numbers -----------------------------------------------------------------------------------------------

-- What a transaction id is added to. In another cluster, after a restore, ids start anew: audit.begin_epoch_1.
CREATE FUNCTION audit.epoch_base_1() RETURNS bigint LANGUAGE sql STABLE RETURN 0::bigint;

-- Every transaction with a lower number is over, and what it wrote is visible to the statement that asks.
CREATE FUNCTION audit.horizon_1() RETURNS bigint LANGUAGE sql STABLE
RETURN audit.epoch_base_1() + pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- No transaction from this number on had an id when the statement began.
CREATE FUNCTION audit.next_transaction_1() RETURNS bigint LANGUAGE sql STABLE
RETURN audit.epoch_base_1() + pg_snapshot_xmax(pg_current_snapshot())::text::bigint;

-- What is sealed ----------------------------------------------------------------------------------------------------

-- A row's leaf is sha256(header || E'\n' || hex(sha256(body))). The body is apart, so that a redaction, which replaces
-- it, can keep its hash. user_id of audit_logs is not in it: it is cleared with the user, and actor says who it was.
CREATE VIEW audit.sealable_1 WITH (security_invoker = true) AS
SELECT 'audit_logs' AS source, tenant_id, id, transaction_id, created_at,
       jsonb_build_array('audit_logs', id, tenant_id, action, entity_type, entity_id, ip_address, user_agent, actor,
                         request_id, transaction_id, (extract(epoch FROM created_at) * 1000000)::bigint)::text AS header,
       coalesce(changes::text, '') AS body
  FROM public.audit_logs
 UNION ALL
SELECT 'access_logs', tenant_id, id, transaction_id, created_at,
       jsonb_build_array('access_logs', id, tenant_id, user_id, actor, access, method, path, filter, row_count, status,
                         ip_address, user_agent, request_id, transaction_id,
                         (extract(epoch FROM created_at) * 1000000)::bigint)::text,
       ''
  FROM public.access_logs
 UNION ALL
SELECT 'platform_logs', NULL, id, transaction_id, created_at,
       jsonb_build_array('platform_logs', id, action, tenant_id, actor, request_id, transaction_id,
                         (extract(epoch FROM created_at) * 1000000)::bigint)::text,
       details::text
  FROM public.platform_logs;

GRANT SELECT ON audit_logs, access_logs, platform_logs, checkpoints, checkpoint_parts, audit.sealable_1 TO fastlane_sealer;
GRANT INSERT ON checkpoints, checkpoint_parts, platform_logs TO fastlane_sealer;
GRANT UPDATE (key_id, signature) ON checkpoints TO fastlane_sealer;
GRANT USAGE ON SEQUENCE checkpoint_parts_id_seq TO fastlane_sealer;
GRANT SELECT ON audit.sealable_1 TO fastlane_platform;
DO $$
DECLARE
    target regclass;
BEGIN
    FOREACH target IN ARRAY ARRAY['audit_logs', 'access_logs', 'platform_logs', 'checkpoints', 'checkpoint_parts']::regclass[]
    LOOP
        EXECUTE format('CREATE POLICY sealer ON %s TO fastlane_sealer USING (true)', target);
    END LOOP;
END
$$;

-- Both tables are written in one statement of one function.
ALTER TABLE checkpoint_parts ALTER CONSTRAINT checkpoint_parts_checkpoint_fkey DEFERRABLE INITIALLY DEFERRED;

-- Makes the next checkpoint, and returns it, to be signed in the same transaction; nothing where there is nothing to
-- seal, or somebody else is at it. FL409: the database was restored, and has not begun an epoch.
CREATE FUNCTION audit.fold_1() RETURNS SETOF checkpoints
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' SET enable_nestloop = off AS $$
DECLARE
    made public.checkpoints;
    last public.checkpoints;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1634296434) THEN
        RETURN;
    END IF;
    SELECT * INTO last FROM public.checkpoints ORDER BY id DESC LIMIT 1;
    IF NOT FOUND THEN
        last := ROW(0, '', 0, 0, 0, '', '', '', '', NULL);
    END IF;
    IF audit.next_transaction_1() < last.next_transaction THEN
        RAISE EXCEPTION USING ERRCODE = 'FL409',
            MESSAGE = 'this database was restored into another cluster: run piccolo audit begin_epoch';
    END IF;

    -- One statement, and so one snapshot: what it sees, and below which number all of it is over.
    WITH bounds AS MATERIALIZED (
        SELECT audit.horizon_1() AS upto, audit.next_transaction_1() AS next_transaction
    ), leaf AS (
        SELECT s.source, s.tenant_id, s.id,
               sha256(convert_to(s.header || E'\n' || encode(sha256(convert_to(s.body, 'UTF8')), 'hex'), 'UTF8')) AS leaf
          FROM audit.sealable_1 s
         WHERE s.transaction_id >= last.upto AND s.transaction_id < (SELECT upto FROM bounds)
    ), part AS (
        INSERT INTO public.checkpoint_parts (checkpoint, source, tenant_id, ids, leaves)
        SELECT last.id + 1, source, tenant_id, array_agg(id ORDER BY id), string_agg(leaf, '' ORDER BY id)
          FROM leaf GROUP BY source, tenant_id
        RETURNING source, tenant_id, cardinality(ids) AS entries, leaves
    )
    SELECT last.id + 1, last.hash, (SELECT upto FROM bounds), (SELECT next_transaction FROM bounds),
           coalesce(sum(entries), 0),
           sha256(convert_to(string_agg(format('%s %s %s', source, coalesce(tenant_id::text, '-'), encode(sha256(leaves), 'hex')),
                                        E'\n' ORDER BY source, tenant_id NULLS FIRST), 'UTF8')),
           '', '', '', clock_timestamp()
      INTO made FROM part;
    IF made.entries = 0 THEN
        RETURN;
    END IF;
    made.hash := sha256(convert_to(concat_ws(' ', made.id, encode(made.previous_hash, 'hex'), made.upto, made.next_transaction,
        made.entries, encode(made.parts_digest, 'hex'), (extract(epoch FROM made.created_at) * 1000000)::bigint), 'UTF8'));
    INSERT INTO public.checkpoints SELECT made.*;
    RETURN NEXT made;
END
$$;

-- Once, and in the transaction that made it: nobody sees a checkpoint without its signature.
CREATE FUNCTION audit.sign_1(of_checkpoint bigint, with_key text, its_signature bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE public.checkpoints SET key_id = with_key, signature = its_signature WHERE id = of_checkpoint AND signature = '';
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'FL409', MESSAGE = 'this checkpoint is signed, or is not there';
    END IF;
END
$$;

-- What remains of a tenant ------------------------------------------------------------------------------------------

CREATE FUNCTION audit.record_tenant_deletion_1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO public.platform_logs (id, action, tenant_id, details, actor, request_id, created_at)
    SELECT audit.new_id_1(), 'tenant_deleted', o.id,
           jsonb_build_object('slug', o.slug, 'name', o.name, 'checkpoint', c.id, 'checkpoint_hash', encode(c.hash, 'hex')),
           coalesce(nullif(left(current_setting('app.actor', true), 255), ''), 'sql:' || session_user),
           nullif(left(current_setting('app.request_id', true), 100), ''), clock_timestamp()
      FROM old_rows o LEFT JOIN (SELECT id, hash FROM public.checkpoints ORDER BY id DESC LIMIT 1) c ON true;
    RETURN NULL;
END
$$;

DO $$
DECLARE
    routine regprocedure;
BEGIN
    FOREACH routine IN ARRAY ARRAY['audit.fold_1()', 'audit.sign_1(bigint, text, bytea)']::regprocedure[] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO fastlane_service, fastlane_platform', routine);
        PERFORM tenancy.hand_over(routine, 'fastlane_sealer');
    END LOOP;
END
$$;
SELECT tenancy.hand_over('audit.record_tenant_deletion_1()', 'fastlane_sealer');
CREATE TRIGGER z_record_deletion AFTER DELETE ON tenants REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION audit.record_tenant_deletion_1();

-- Epochs ------------------------------------------------------------------------------------------------------------

-- What the last checkpoint says of numbers, for begin_epoch_1, which the owner runs, whom FORCE blinds.
CREATE FUNCTION audit.highest_transaction_1() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT greatest((SELECT coalesce(max(c.next_transaction), 0) FROM public.checkpoints c),
                    (SELECT coalesce(max(s.transaction_id), 0) FROM audit.sealable_1 s))
$$;
REVOKE EXECUTE ON FUNCTION audit.highest_transaction_1() FROM PUBLIC;
SELECT tenancy.hand_over('audit.highest_transaction_1()', 'fastlane_sealer');

-- Records that numbers start at a base. Owned by the sealer for its right to write it.
CREATE FUNCTION audit.record_epoch_1(base bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    INSERT INTO public.platform_logs (id, action, details, actor, created_at)
    VALUES (audit.new_id_1(), 'epoch_started', jsonb_build_object('base', base), 'sql:' || session_user, clock_timestamp())
$$;
REVOKE EXECUTE ON FUNCTION audit.record_epoch_1(bigint) FROM PUBLIC;
SELECT tenancy.hand_over('audit.record_epoch_1(bigint)', 'fastlane_sealer');

-- After a restore into another cluster, before anything is written there: numbers go on above all that there are.
-- For the owner. Returns the new base.
CREATE FUNCTION audit.begin_epoch_1() RETURNS bigint LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    base bigint;
    target text;
BEGIN
    LOCK TABLE public.events, public.audit_logs, public.access_logs, public.platform_logs IN ACCESS EXCLUSIVE MODE;
    base := ((audit.highest_transaction_1() >> 48) + 1) << 48;
    FOREACH target IN ARRAY ARRAY['events', 'audit_logs', 'access_logs', 'platform_logs'] LOOP
        EXECUTE format('ALTER TABLE public.%I ALTER COLUMN transaction_id SET DEFAULT %s + pg_current_xact_id()::text::bigint',
                       target, base);
    END LOOP;
    EXECUTE format('CREATE OR REPLACE FUNCTION audit.epoch_base_1() RETURNS bigint LANGUAGE sql STABLE RETURN %s::bigint', base);
    PERFORM audit.record_epoch_1(base);
    RETURN base;
END
$$;
REVOKE EXECUTE ON FUNCTION audit.begin_epoch_1() FROM PUBLIC;

-- To the owner, by whom they belong to by now.
DO $$
DECLARE
    me name := current_user;
BEGIN
    EXECUTE 'GRANT fastlane_sealer TO CURRENT_USER';
    SET LOCAL ROLE fastlane_sealer;
    EXECUTE format('GRANT EXECUTE ON FUNCTION audit.highest_transaction_1(), audit.record_epoch_1(bigint) TO %I', me);
    EXECUTE format('SET LOCAL ROLE %I', me);
    EXECUTE 'REVOKE fastlane_sealer FROM CURRENT_USER';
END
$$;
SELECT audit.record_epoch_1(0);
