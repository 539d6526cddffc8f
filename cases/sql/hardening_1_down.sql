-- What the trail generates is as it was before.
DO $$
DECLARE
    me name := current_user;
    item record;
BEGIN
    FOR item IN
        SELECT p.oid::regprocedure AS routine, p.proowner::regrole AS owner, p.prosecdef AS is_definer,
               p.prorettype = 'trigger'::regtype AS is_trigger
          FROM pg_proc p
         WHERE p.pronamespace::regnamespace::text IN ('tenancy', 'audit', 'cases')
           AND (p.prosecdef OR p.prorettype = 'trigger'::regtype)
           AND NOT (p.pronamespace = 'audit'::regnamespace AND p.proname LIKE 'record\_%' AND p.prorettype = 'trigger'::regtype
                    AND p.proname <> 'record_tenant_deletion_1')
           -- They came later, and were hard from the beginning.
           AND p.proname NOT IN ('end_sessions_1', 'take_attempt_1', 'give_back_attempt_1', 'accept_invitation_1',
                                 'keep_an_admin_1', 'identify_subject_2', 'identify_session_2', 'unguarded_tenants_1')
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        IF item.owner <> me::regrole THEN
            EXECUTE format('GRANT %s TO CURRENT_USER', item.owner);
            EXECUTE format('SET LOCAL ROLE %s', item.owner);
        END IF;
        IF item.is_definer THEN
            EXECUTE format('ALTER FUNCTION %s SET search_path = ''''', item.routine);
        END IF;
        IF item.is_trigger THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', item.routine);
        END IF;
        IF item.owner <> me::regrole THEN
            EXECUTE format('SET LOCAL ROLE %I', me);
            EXECUTE format('REVOKE %s FROM CURRENT_USER', item.owner);
        END IF;
    END LOOP;
END
$$;
