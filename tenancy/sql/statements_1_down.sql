REVOKE USAGE ON SCHEMA tenancy FROM PUBLIC;
DROP FUNCTION tenancy.run_1(text, text, text[]);
