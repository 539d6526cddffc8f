-- In how many rows what the client called itself or asked for contains one of the forms $2, of a tenant, by column. These
-- columns are sealed as they are. An id in a path contains it by accident.
SELECT 'audit_logs.user_agent' AS place, count(*) AS rows FROM audit_logs
 WHERE tenant_id = $1 AND EXISTS (SELECT FROM unnest($2::text[]) AS form WHERE strpos(user_agent, form) > 0)
 UNION ALL
SELECT 'access_logs.user_agent', count(*) FROM access_logs
 WHERE tenant_id = $1 AND EXISTS (SELECT FROM unnest($2::text[]) AS form WHERE strpos(user_agent, form) > 0)
 UNION ALL
SELECT 'access_logs.path', count(*) FROM access_logs
 WHERE tenant_id = $1
   AND EXISTS (SELECT FROM unnest($2::text[]) AS form
                WHERE strpos(regexp_replace(path, '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '', 'gi'), form) > 0)
 UNION ALL
SELECT 'access_logs.filter', count(*) FROM access_logs
 WHERE tenant_id = $1 AND EXISTS (SELECT FROM unnest($2::text[]) AS form WHERE strpos(filter, form) > 0)
