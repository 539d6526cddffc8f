-- Functions that run with another role's rights look types up in pg_catalog first, and not in a schema of temporary
-- objects, which an empty search path begins with; and nobody attaches their triggers to a table of their own.
-- https://www.postgresql.org/docs/current/sql-createfunction.html#SQL-CREATEFUNCTION-SECURITY
-- Frozen: the migration that names this file has landed.
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
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        IF item.owner <> me::regrole THEN
            EXECUTE format('GRANT %s TO CURRENT_USER', item.owner);
            EXECUTE format('SET LOCAL ROLE %s', item.owner);
        END IF;
        IF item.is_definer THEN
            EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', item.routine);
        END IF;
        IF item.is_trigger THEN
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', item.routine);
        END IF;
        IF item.owner <> me::regrole THEN
            EXECUTE format('SET LOCAL ROLE %I', me);
            EXECUTE format('REVOKE %s FROM CURRENT_USER', item.owner);
        END IF;
    END LOOP;
END
$$;
