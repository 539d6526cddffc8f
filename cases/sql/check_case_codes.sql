-- $1 the system: what its list says of the procedures that are there. The trigger computes the values itself.
WITH checked AS (
    UPDATE case_codes c SET is_known = NULL
     WHERE c.code_type = $1
       AND (c.is_known IS DISTINCT FROM cases.is_known_1(c.tenant_id, $1, c.code)
            OR coalesce(c.description, '') = '' AND EXISTS (
               SELECT FROM known_codes k
                WHERE k.tenant_id = c.tenant_id AND k.system = $1 AND k.code = c.code AND k.description IS NOT NULL))
    RETURNING true
)
SELECT count(*) AS checked FROM checked
