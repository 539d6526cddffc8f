REVOKE USAGE ON SCHEMA audit FROM fastlane_tenant;
