DROP FUNCTION tenancy.take_requests_1(uuid, uuid, integer, integer, integer);
DROP TABLE tenancy.request_windows;
REVOKE USAGE ON SCHEMA tenancy FROM fastlane_identity;
