-- The rows of the trail with these ids, as they are sealed, and their columns but for what is the body.
SELECT s.source, s.id, s.header, s.body, (to_jsonb(a) - '{changes,salt}'::text[])::text AS columns
  FROM audit.sealable_1 s JOIN audit_logs a ON a.id = s.id
 WHERE s.source = 'audit_logs' AND s.id = ANY ($1::uuid[])
 UNION ALL
SELECT s.source, s.id, s.header, s.body, to_jsonb(a)::text
  FROM audit.sealable_1 s JOIN access_logs a ON a.id = s.id
 WHERE s.source = 'access_logs' AND s.id = ANY ($1::uuid[])
