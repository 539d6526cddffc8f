-- What the list of diagnoses says of the cases that are open. The trigger computes the values itself.
WITH checked AS (
    UPDATE cases c SET unknown_codes = NULL
     WHERE c.status IN ('pending', 'more_info_needed')
       AND c.unknown_codes IS DISTINCT FROM cases.unknown_codes_1(c.tenant_id, c.diagnosis_codes)
    RETURNING true
)
SELECT count(*) AS checked FROM checked
