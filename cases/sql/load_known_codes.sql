-- $1 the system, $2 codes as they are stored, $3 their descriptions: adds what is new and changes what is described otherwise.
WITH written AS (
    INSERT INTO known_codes (system, code, description)
    SELECT $1, o.code, o.description FROM unnest($2::varchar[], $3::text[]) AS o (code, description)
        ON CONFLICT (tenant_id, system, code) DO UPDATE SET description = EXCLUDED.description
     WHERE known_codes.description IS DISTINCT FROM EXCLUDED.description
    RETURNING xmax = 0 AS is_new
)
SELECT count(*) FILTER (WHERE is_new) AS added, count(*) FILTER (WHERE NOT is_new) AS changed FROM written
