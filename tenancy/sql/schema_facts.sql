-- What the catalog knows of the tables $1 beyond Piccolo's classes, one fact a row.
WITH wanted AS (
    SELECT c.oid, c.relname FROM pg_class c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY ($1::text[])
)
SELECT w.relname::text AS table_name, 'column' AS kind, a.attname::text AS name,
       format_type(a.atttypid, a.atttypmod) AS definition,
       jsonb_build_object('nullable', NOT a.attnotnull, 'generated', a.attgenerated <> '',
                          'default', pg_get_expr(d.adbin, d.adrelid),
                          'comment', col_description(a.attrelid, a.attnum)) AS more
  FROM wanted w
  JOIN pg_attribute a ON a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = w.oid AND d.adnum = a.attnum
 UNION ALL
-- PostgreSQL 18 lists NOT NULL here too, which the columns above say already.
SELECT w.relname, CASE k.contype WHEN 'c' THEN 'check' WHEN 'f' THEN 'reference' ELSE 'key' END, k.conname,
       pg_get_constraintdef(k.oid),
       jsonb_build_object('target', o.relname, 'primary', k.contype = 'p', 'columns', ARRAY(
           SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY AS u(attnum, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum ORDER BY u.place))
  FROM wanted w
  JOIN pg_constraint k ON k.conrelid = w.oid AND k.contype IN ('p', 'u', 'f', 'c')
  LEFT JOIN pg_class o ON o.oid = k.confrelid
 UNION ALL
SELECT w.relname, 'index', o.relname, pg_get_indexdef(i.indexrelid),
       jsonb_build_object('unique', i.indisunique)
  FROM wanted w
  JOIN pg_index i ON i.indrelid = w.oid
  JOIN pg_class o ON o.oid = i.indexrelid
 WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u'))
 UNION ALL
SELECT w.relname, 'policy', p.polname,
       CASE p.polcmd WHEN '*' THEN 'ALL' WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT'
                     WHEN 'w' THEN 'UPDATE' ELSE 'DELETE' END,
       jsonb_build_object('permissive', p.polpermissive, 'roles', ARRAY(
           SELECT r.rolname FROM pg_roles r WHERE r.oid = ANY (p.polroles) ORDER BY r.rolname))
  FROM wanted w
  JOIN pg_policy p ON p.polrelid = w.oid
 UNION ALL
SELECT w.relname, 'trigger', t.tgname, pg_get_triggerdef(t.oid), '{}'
  FROM wanted w
  JOIN pg_trigger t ON t.tgrelid = w.oid AND NOT t.tgisinternal
