DROP TRIGGER f_keep_active ON users;
DROP TRIGGER f_keep_admin ON users;
DROP TRIGGER f_keep_row ON users;
DROP FUNCTION tenancy.keep_an_admin_1(), tenancy.accept_invitation_1(bytea, text);
DROP POLICY registrar ON users;
REVOKE SELECT (id, tenant_id, auth_id, is_active), UPDATE (auth_id) ON users FROM fastlane_registrar;
DROP POLICY registrar ON invitations;
REVOKE ALL ON invitations FROM fastlane_registrar;
SELECT tenancy.release_table('invitations');
-- See the way forwards: the check of the key below needs to see the users.
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE invitations DROP CONSTRAINT invitations_user_id_fkey;
ALTER TABLE invitations ADD CONSTRAINT invitations_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id)
    ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
ALTER TABLE invitations
    DROP CONSTRAINT invitations_code_digest_check,
    DROP CONSTRAINT invitations_expires_at_check,
    ALTER COLUMN code_digest SET DEFAULT '';
