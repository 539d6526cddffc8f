-- What is wrong with the isolation of this database, one row a finding; no rows: nothing.
-- $1 tenant tables, $2 their references as 'table.column>target', $3 their triggers as
-- 'table.trigger=function TIMING EVENT …'.
WITH our_role AS (
    -- Those that act for a transaction, and those that own functions.
    SELECT unnest(ARRAY['fastlane_tenant', 'fastlane_platform', 'fastlane_authn', 'fastlane_service', 'fastlane_identity',
                        'fastlane_auditor', 'fastlane_search', 'fastlane_sealer', 'fastlane_restorer', 'fastlane_keeper',
                        'fastlane_registrar']) AS name
),
tenant_table AS (
    SELECT c.oid, c.relname, c.relrowsecurity, c.relforcerowsecurity,
           CASE c.relname WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END AS tenant_key
      FROM pg_class c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY ($1::text[])
),
-- Policies that let the tenant role in; 0 stands for PUBLIC.
tenant_policy AS (
    SELECT t.relname, t.tenant_key, p.polname, p.polpermissive, p.polcmd, p.polwithcheck,
           pg_get_expr(p.polqual, p.polrelid) AS qual
      FROM tenant_table t
      JOIN pg_policy p ON p.polrelid = t.oid
     WHERE p.polroles && ARRAY[0::oid, 'fastlane_tenant'::regrole::oid]
),
expected_policy AS (
    SELECT relname, 'tenant_bound' AS polname, true AS permissive,
           '(( SELECT NULLIF(current_setting(''app.tenant_id''::text, true), ''''::text) AS "nullif") IS NOT NULL)' AS qual
      FROM tenant_table
     UNION ALL
    SELECT relname, 'tenant_isolation', false,
           format('(%I = ( SELECT (NULLIF(current_setting(''app.tenant_id''::text, true), ''''::text))::uuid AS "nullif"))',
                  tenant_key)
      FROM tenant_table
),
actual_trigger AS (
    SELECT format('%s.%s=%s.%s %s%s%s%s%s%s%s', c.relname, t.tgname, p.pronamespace::regnamespace, p.proname,
                  -- The bits of tgtype, as in PostgreSQL's catalog/pg_trigger.h.
                  CASE WHEN t.tgtype & 2 > 0 THEN 'BEFORE' ELSE 'AFTER' END,
                  CASE WHEN t.tgtype & 4 > 0 THEN ' INSERT' END,
                  CASE WHEN t.tgtype & 16 > 0 THEN ' UPDATE' END,
                  CASE WHEN t.tgtype & 8 > 0 THEN ' DELETE' END,
                  CASE WHEN t.tgtype & 32 > 0 THEN ' TRUNCATE' END,
                  CASE WHEN cardinality(t.tgattr) > 0 THEN ' OF' END,
                  CASE WHEN t.tgqual IS NOT NULL THEN ' WHEN' END) AS described
      FROM pg_trigger t JOIN tenant_table c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
     WHERE t.tgenabled IN ('O', 'A')
)
SELECT 'missing table' AS rule, name AS object FROM unnest($1::text[]) AS name
 WHERE name NOT IN (SELECT relname FROM tenant_table)
 UNION ALL
SELECT 'row-level security is not enabled', relname FROM tenant_table WHERE NOT relrowsecurity
 UNION ALL
SELECT 'row-level security is not forced', relname FROM tenant_table WHERE NOT relforcerowsecurity
 UNION ALL
SELECT 'policy is missing or altered', format('%s.%s', e.relname, e.polname)
  FROM expected_policy e
 WHERE NOT EXISTS (
        SELECT FROM tenant_policy p
         WHERE p.relname = e.relname AND p.polname = e.polname AND p.polpermissive = e.permissive
           AND p.polcmd = '*' AND p.polwithcheck IS NULL AND p.qual = e.qual)
 UNION ALL
SELECT 'policy is not one of the boundary', format('%s.%s', p.relname, p.polname)
  FROM tenant_policy p
 WHERE p.polname NOT IN ('tenant_bound', 'tenant_isolation')
 UNION ALL
-- Whoever acts for a tenant calls what this role owns: it must see, and write, the bound tenant's rows alone.
SELECT 'the restorer is not confined to the bound tenant', format('%s.%s', t.relname, coalesce(p.polname, 'restorer'))
  FROM tenant_table t
  LEFT JOIN pg_policy p ON p.polrelid = t.oid AND p.polroles && ARRAY[0::oid, 'fastlane_restorer'::regrole::oid]
 WHERE CASE WHEN p.polname IS NULL THEN
            t.relname = 'audit_logs' OR has_table_privilege('fastlane_tenant', t.oid, 'INSERT')
            AND EXISTS (SELECT FROM pg_trigger a WHERE a.tgrelid = t.oid AND a.tgname = 'z_audit_delete')
       ELSE p.polname <> 'restorer' OR p.polwithcheck IS NOT NULL OR pg_get_expr(p.polqual, p.polrelid) IS DISTINCT FROM
            '(tenant_id = ( SELECT (NULLIF(current_setting(''app.tenant_id''::text, true), ''''::text))::uuid AS "nullif"))'
       END
 UNION ALL
SELECT 'the restorer may do more than read and insert', format('%s by fastlane_restorer', relname) FROM tenant_table
 WHERE has_table_privilege('fastlane_restorer', oid, 'DELETE, TRUNCATE')
    OR has_any_column_privilege('fastlane_restorer', oid, 'UPDATE')
    OR relname = 'audit_logs' AND has_any_column_privilege('fastlane_restorer', oid, 'INSERT')
 UNION ALL
SELECT 'trigger is missing, disabled or altered', split_part(expected, '=', 1) FROM unnest($3::text[]) AS expected
 WHERE expected NOT IN (SELECT described FROM actual_trigger)
 UNION ALL
SELECT 'the trail does not name this column', format('%s.%s', c.relname, a.attname)
  FROM tenant_table c
  JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = 'z_audit_insert'
  JOIN pg_proc p ON p.oid = t.tgfoid
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'search'
 WHERE strpos(p.prosrc, format('%1$L, n.%1$I', a.attname)) = 0
 UNION ALL
-- A reference whose key does not pair tenant_id with tenant_id can point into another tenant.
SELECT 'reference is not held by a validated key that includes the tenant', split_part(reference, '>', 1)
  FROM unnest($2::text[]) AS reference
 WHERE NOT EXISTS (
        SELECT FROM pg_constraint k
          JOIN tenant_table t ON t.oid = k.conrelid
          JOIN tenant_table o ON o.oid = k.confrelid
          JOIN pg_attribute c ON c.attrelid = k.conrelid AND c.attnum = ANY (k.conkey)
         WHERE k.contype = 'f' AND k.convalidated
           AND format('%s.%s>%s', t.relname, c.attname, o.relname) = reference
           AND (o.relname = 'tenants' OR EXISTS (
                SELECT FROM unnest(k.conkey, k.confkey) AS pair(here, there)
                  JOIN pg_attribute h ON h.attrelid = k.conrelid AND h.attnum = pair.here
                  JOIN pg_attribute r ON r.attrelid = k.confrelid AND r.attnum = pair.there
                 WHERE h.attname = 'tenant_id' AND r.attname = 'tenant_id')))
 UNION ALL
SELECT 'foreign key is not composite', format('%s.%s', t.relname, k.conname)
  FROM pg_constraint k JOIN tenant_table t ON t.oid = k.conrelid JOIN tenant_table o ON o.oid = k.confrelid
 WHERE k.contype = 'f' AND o.relname <> 'tenants' AND cardinality(k.conkey) < 2
 UNION ALL
SELECT 'no index leads with the tenant', relname FROM tenant_table t
 WHERE NOT EXISTS (
        SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
         WHERE i.indrelid = t.oid AND i.indisvalid AND a.attname = t.tenant_key)
 UNION ALL
SELECT 'role is too powerful', rolname FROM pg_roles
 WHERE rolname = ANY (ARRAY(SELECT name FROM our_role))
   AND (rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR rolcreatedb OR rolreplication)
 UNION ALL
SELECT 'role owns a table', format('%s owns %s', c.relowner::regrole, c.relname) FROM pg_class c
 WHERE c.relkind IN ('r', 'p') AND c.relowner::regrole::text IN (SELECT name FROM our_role)
 UNION ALL
SELECT 'the tenant role may truncate', relname FROM tenant_table
 WHERE has_table_privilege('fastlane_tenant', oid, 'TRUNCATE')
 UNION ALL
SELECT DISTINCT 'the record of what happened can be written', format('%s by %s', relname, role)
  FROM tenant_table, unnest(ARRAY['fastlane_tenant', 'fastlane_platform', 'fastlane_authn', 'fastlane_service', 'fastlane_identity']) AS role
 WHERE relname IN ('audit_logs', 'access_logs', 'events')
   AND (has_table_privilege(role, oid, 'DELETE') OR has_any_column_privilege(role, oid, 'INSERT, UPDATE'))
 UNION ALL
SELECT 'one acting role may become another', format('%s of %s', member::regrole, roleid::regrole)
  FROM pg_auth_members
 WHERE member::regrole::text LIKE 'fastlane\_%' AND roleid::regrole::text LIKE 'fastlane\_%'
   AND member IN (SELECT oid FROM pg_roles WHERE NOT rolcanlogin)
 UNION ALL
-- Who logs in may become an acting role for a transaction; by itself it may read nothing.
SELECT 'the login role has a right of its own', format('%s on %s', m.member::regrole, t.relname)
  FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member CROSS JOIN tenant_table t
 WHERE m.roleid = 'fastlane_tenant'::regrole AND r.rolcanlogin AND NOT r.rolsuper AND NOT r.rolcreaterole
   AND (has_table_privilege(m.member, t.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
        OR has_any_column_privilege(m.member, t.oid, 'SELECT, INSERT, UPDATE'))
 UNION ALL
-- A view reads with its owner's eyes unless it says otherwise.
SELECT 'view reads as its owner', v.relname FROM pg_class v
 WHERE v.relkind IN ('v', 'm') AND v.relnamespace = 'public'::regnamespace
   AND has_table_privilege('fastlane_tenant', v.oid, 'SELECT')
   AND NOT coalesce(v.reloptions::text LIKE '%security_invoker=%true%' OR v.reloptions::text LIKE '%security_invoker=on%', false)
 UNION ALL
SELECT 'security definer function of a role that sees too much or without a search path', p.oid::regprocedure::text
  FROM pg_proc p
 WHERE p.prosecdef AND p.pronamespace::regnamespace::text IN ('tenancy', 'audit', 'cases', 'public')
   AND (p.proowner::regrole::text NOT IN ('fastlane_identity', 'fastlane_auditor', 'fastlane_search', 'fastlane_sealer',
                                          'fastlane_restorer', 'fastlane_keeper', 'fastlane_registrar')
        OR NOT coalesce(p.proconfig::text LIKE '%search_path=pg_catalog, pg_temp%', false))
 UNION ALL
-- Who may call one that is a trigger's can attach it to a table of their own, and write what it writes.
SELECT 'security definer function that everybody may call', p.oid::regprocedure::text
  FROM pg_proc p
 WHERE p.prosecdef AND p.pronamespace::regnamespace::text IN ('tenancy', 'audit', 'cases', 'public')
   AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS given
                WHERE given.grantee = 0 AND given.privilege_type = 'EXECUTE')
 ORDER BY 1, 2
