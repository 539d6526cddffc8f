-- For each clinic and payer what the payer asks for imaging of the spine. The triggers rest: no task is made yet.
INSERT INTO rulesets (id, tenant_id, payer, procedure, rules_json)
SELECT gen_random_uuid(), t.id, p.payer, '7214*',
       '{"requirements": ["Six weeks of conservative treatment", "Imaging within the last year"],
         "documentation": ["Clinical notes", "Treatment history"]}'
  FROM tenants t CROSS JOIN (SELECT DISTINCT payer FROM cases) AS p
