REVOKE USAGE ON SCHEMA audit FROM fastlane_tenant;
DROP FUNCTION audit.epoch_base_1();
