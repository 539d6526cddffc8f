DROP TRIGGER z_record_deletion ON tenants;
DROP TRIGGER z_require_signature ON checkpoints;
DROP FUNCTION audit.begin_epoch_1(), audit.record_epoch_1(bigint), audit.is_restored_1(), audit.highest_transaction_1(),
    audit.require_signature_1(), audit.record_tenant_deletion_1(), audit.sign_1(bigint, text, bytea), audit.fold_1();
ALTER TABLE checkpoint_parts ALTER CONSTRAINT checkpoint_parts_checkpoint_fkey NOT DEFERRABLE;
DO $$
DECLARE
    target regclass;
BEGIN
    FOREACH target IN ARRAY ARRAY['audit_logs', 'access_logs', 'platform_logs', 'checkpoints', 'checkpoint_parts']::regclass[]
    LOOP
        EXECUTE format('DROP POLICY sealer ON %s', target);
    END LOOP;
END
$$;
REVOKE ALL ON SEQUENCE checkpoint_parts_id_seq FROM fastlane_sealer;
REVOKE ALL ON audit_logs, access_logs, platform_logs, checkpoints, checkpoint_parts FROM fastlane_sealer;
REVOKE UPDATE (key_id, signature) ON checkpoints FROM fastlane_sealer;
DROP VIEW audit.sealable_1;
DROP FUNCTION audit.horizon_1(), audit.next_transaction_1(), audit.epoch_base_1();
