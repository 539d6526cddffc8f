-- The proof: finished transactions are folded into checkpoints, each of which holds the hash of the one before.
-- A writer never waits for it. Frozen: the migration that names this file has landed.

-- Transaction numbers -----------------------------------------------------------------------------------------------

-- What a transaction id is added to. In another cluster, after a restore, ids start anew: audit.begin_epoch_1.
CREATE FUNCTION audit.epoch_base_1() RETURNS bigint LANGUAGE sql STABLE RETURN 0::bigint;

-- Every transaction with a lower number is over, and what it wrote is visible to the statement that asks.
CREATE FUNCTION audit.horizon_1() RETURNS bigint LANGUAGE sql STABLE
RETURN audit.epoch_base_1() + pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- Whatever is visible to the statement that asks was written by a transaction with a lower number.
CREATE FUNCTION audit.next_transaction_1() RETURNS bigint LANGUAGE sql STABLE
RETURN audit.epoch_base_1() + pg_snapshot_xmax(pg_current_snapshot())::text::bigint;

-- What is sealed ----------------------------------------------------------------------------------------------------

-- A row's leaf is sha256(header || E'\n' || hex(sha256(body))). The body is apart, so that a redaction, which replaces
-- it, can keep its hash. user_id of audit_logs is not in it: it is cleared with the user, and actor says who it was.
-- Times are microseconds, as a number that holds infinity too: no edit keeps the rest from being read.
CREATE VIEW audit.sealable_1 WITH (security_invoker = true) AS
SELECT 'audit_logs' AS source, tenant_id, id, transaction_id, created_at,
       jsonb_build_array('audit_logs', id, tenant_id, action, entity_type, entity_id, ip_address, user_agent, actor,
                         request_id, transaction_id, trunc(extract(epoch FROM created_at) * 1000000))::text AS header,
       coalesce(changes::text, '') AS body
  FROM public.audit_logs
 UNION ALL
SELECT 'access_logs', tenant_id, id, transaction_id, created_at,
       jsonb_build_array('access_logs', id, tenant_id, user_id, actor, access, method, path, filter, row_count, status,
                         ip_address, user_agent, request_id, transaction_id,
                         trunc(extract(epoch FROM created_at) * 1000000))::text,
       ''
  FROM public.access_logs
 UNION ALL
SELECT 'platform_logs', NULL, id, transaction_id, created_at,
       jsonb_build_array('platform_logs', id, action, tenant_id, actor, request_id, transaction_id,
                         trunc(extract(epoch FROM created_at) * 1000000))::text,
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
-- seal, or somebody else is at it. Of a backlog it takes the transactions of a hundred thousand numbers: call it until
-- there is nothing. FL409: the database was restored, and has not begun an epoch.
CREATE FUNCTION audit.fold_1() RETURNS SETOF checkpoints
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' SET enable_nestloop = off AS $$
DECLARE
    made public.checkpoints;
    last public.checkpoints;
    lowest bigint;
    highest bigint;
    unheard_of bigint;
    horizon bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1634296434) THEN
        RETURN;
    END IF;
    SELECT * INTO last FROM public.checkpoints ORDER BY id DESC LIMIT 1;
    IF NOT FOUND THEN
        last := ROW(0, '', 0, 0, 0, '', '', '', '', NULL);
    END IF;
    SELECT min(s.transaction_id), max(s.transaction_id), audit.next_transaction_1(), audit.horizon_1()
      INTO lowest, highest, unheard_of, horizon
      FROM audit.sealable_1 s WHERE s.transaction_id >= last.upto;
    IF greatest(last.next_transaction, highest + 1) > unheard_of THEN
        RAISE EXCEPTION USING ERRCODE = 'FL409',
            MESSAGE = 'this database was restored into another cluster: run piccolo audit begin_epoch';
    END IF;
    IF lowest IS NULL OR lowest >= horizon THEN
        RETURN;
    END IF;

    -- Who gets a higher number than this transaction begins to write after this time. The snapshot says less: what it
    -- has not seen end may have written long ago.
    made.created_at := clock_timestamp();
    made.next_transaction := audit.epoch_base_1() + pg_current_xact_id()::text::bigint + 1;

    -- One statement, and so one snapshot: what it sees, and below which number all of it is over.
    WITH bounds AS MATERIALIZED (
        SELECT least(audit.horizon_1(), lowest + 100000) AS upto
    ), leaf AS (
        SELECT s.source, s.tenant_id, s.id,
               sha256(convert_to(s.header || E'\n' || encode(sha256(convert_to(s.body, 'UTF8')), 'hex'), 'UTF8')) AS leaf
          FROM audit.sealable_1 s
         WHERE s.transaction_id >= last.upto AND s.transaction_id < (SELECT upto FROM bounds)
    ), part AS (
        SELECT source, tenant_id, count(*) AS entries, array_agg(id ORDER BY id) AS ids,
               string_agg(leaf, '' ORDER BY id) AS leaves, string_agg(uuid_send(id), '' ORDER BY id) AS packed_ids
          FROM leaf GROUP BY source, tenant_id
    ), kept AS (
        INSERT INTO public.checkpoint_parts (checkpoint, source, tenant_id, ids, leaves)
        SELECT last.id + 1, source, tenant_id, ids, leaves FROM part
    )
    SELECT (SELECT upto FROM bounds), coalesce(sum(entries), 0),
           sha256(convert_to(string_agg(format('%s %s %s', source, coalesce(tenant_id::text, '-'),
                                               encode(sha256(packed_ids || leaves), 'hex')),
                                        E'\n' ORDER BY source COLLATE "C", tenant_id NULLS FIRST), 'UTF8'))
      INTO made.upto, made.entries, made.parts_digest FROM part;
    IF made.entries = 0 THEN
        RETURN;
    END IF;
    made.id := last.id + 1;
    made.previous_hash := last.hash;
    made.key_id := '';
    made.signature := '';
    made.hash := sha256(convert_to(concat_ws(' ', made.id, encode(made.previous_hash, 'hex'), made.upto, made.next_transaction,
        made.entries, encode(made.parts_digest, 'hex'), trunc(extract(epoch FROM made.created_at) * 1000000)), 'UTF8'));
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

-- At COMMIT.
CREATE FUNCTION audit.require_signature_1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF EXISTS (SELECT FROM public.checkpoints c WHERE c.id = NEW.id AND c.signature = '') THEN
        RAISE EXCEPTION USING ERRCODE = 'FL409', MESSAGE = 'a checkpoint is signed in the transaction that makes it';
    END IF;
    RETURN NULL;
END
$$;
SELECT tenancy.hand_over('audit.require_signature_1()', 'fastlane_sealer');
CREATE CONSTRAINT TRIGGER z_require_signature AFTER INSERT ON checkpoints DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION audit.require_signature_1();

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

-- The highest number that was given so far, for begin_epoch_1, which the owner runs, whom FORCE blinds.
CREATE FUNCTION audit.highest_transaction_1() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    WITH last AS MATERIALIZED (
        SELECT coalesce(max(c.upto), 0) AS upto, coalesce(max(c.next_transaction), 0) - 1 AS number FROM public.checkpoints c
    )
    SELECT greatest((SELECT number FROM last), (SELECT max(s.transaction_id) FROM audit.sealable_1 s
                                                 WHERE s.transaction_id >= (SELECT upto FROM last)))
$$;
REVOKE EXECUTE ON FUNCTION audit.highest_transaction_1() FROM PUBLIC;

-- Whether numbers were given that this cluster has not come to: it is not the one that gave them.
CREATE FUNCTION audit.is_restored_1() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT audit.highest_transaction_1() >= audit.next_transaction_1()
$$;
REVOKE EXECUTE ON FUNCTION audit.is_restored_1() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.is_restored_1() TO fastlane_service, fastlane_platform;
SELECT tenancy.hand_over('audit.highest_transaction_1()', 'fastlane_sealer');
SELECT tenancy.hand_over('audit.is_restored_1()', 'fastlane_sealer');

-- Records that numbers start at a base. Owned by the sealer for its right to write it.
CREATE FUNCTION audit.record_epoch_1(base bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    INSERT INTO public.platform_logs (id, action, details, actor, created_at)
    VALUES (audit.new_id_1(), 'epoch_started', jsonb_build_object('base', base), 'sql:' || session_user, clock_timestamp())
$$;
REVOKE EXECUTE ON FUNCTION audit.record_epoch_1(bigint) FROM PUBLIC;
SELECT tenancy.hand_over('audit.record_epoch_1(bigint)', 'fastlane_sealer');

-- After a restore into another cluster, before anything is written there: numbers go on above all that there are.
-- For the owner. Returns the new base. No checkpoint is made meanwhile, nor with the base of before.
CREATE FUNCTION audit.begin_epoch_1() RETURNS bigint LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    base bigint;
    target text;
BEGIN
    PERFORM pg_advisory_xact_lock(1634296434);
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
    EXECUTE format('GRANT EXECUTE ON FUNCTION audit.highest_transaction_1(), audit.is_restored_1(),
                    audit.record_epoch_1(bigint) TO %I', me);
    EXECUTE format('SET LOCAL ROLE %I', me);
    EXECUTE 'REVOKE fastlane_sealer FROM CURRENT_USER';
END
$$;
SELECT audit.record_epoch_1(0);
