-- $1 the system, $2 the codes that stay.
WITH removed AS (
    DELETE FROM known_codes k
     WHERE k.system = $1 AND NOT EXISTS (SELECT FROM unnest($2::varchar[]) AS o (code) WHERE o.code = k.code)
    RETURNING true
)
SELECT count(*) AS removed FROM removed
