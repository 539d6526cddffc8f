-- Cases $1 to $2 of $3; the first fifth is the first clinic's, the rest is dealt out to the others, $4 clinics in all.
-- Of every four cases one has two codes and two tasks. All values follow from the number of a case.
WITH numbered AS (
    SELECT n, md5('case' || n)::uuid AS id,
           'clinic-' || lpad((CASE WHEN n <= $3 / 5 THEN 1 ELSE 2 + n % ($4 - 1) END)::text, 2, '0') AS slug
      FROM generate_series($1::integer, $2::integer) AS n
), opened AS (
    INSERT INTO cases (
        id, tenant_id, ingestion_id, created_by, member_id_hash, payer, status, priority, diagnosis_codes,
        confidence_json, extracted_data, metadata_json, submitted_at, decision_due_at, created_at, updated_at)
    SELECT c.id, t.id, md5('ingestion' || c.slug || (1 + n % 50))::uuid, md5('person' || c.slug)::uuid,
           encode(sha256(('member' || n % 60000)::bytea), 'hex'),
           (ARRAY['Aetna', 'Cigna', 'Humana', 'UnitedHealthcare', 'Blue Cross Blue Shield', 'Kaiser', 'Molina', 'Centene'])[1 + n % 8],
           (ARRAY['pending', 'approved', 'pending', 'denied', 'approved', 'pending', 'approved', 'pending', 'denied', 'more_info_needed'])[1 + n % 10],
           (ARRAY['normal', 'high', 'normal', 'urgent', 'low'])[1 + n % 5],
           (ARRAY['{M54.50}', '{M17.11,M25.561}', '{S83.242A}', '{C50.911,Z85.3}'])[1 + n % 4]::varchar[],
           jsonb_build_object(
               'overall', 0.5 + (n % 50) / 100.0,
               'fields', jsonb_build_object(
                   'member_id', 0.91, 'payer', 0.98, 'diagnosis', 0.89, 'procedure', 0.93, 'provider', 0.87, 'facility', 0.9,
                   'service_date', 0.95, 'urgency', 0.81, 'laterality', 0.78, 'units', 0.99, 'place_of_service', 0.84,
                   'referring_provider', 0.77, 'history', 0.69, 'imaging', 0.88, 'conservative_treatment', 0.73)),
           jsonb_build_object(
               'source', (ARRAY['email', 'pdf'])[1 + n % 2], 'pages', 1 + n % 9, 'procedure', '72148',
               'summary', 'Six weeks of physical therapy without relief. Imaging was requested to rule out a herniated disc '
                   'before injection. Conservative treatment is documented on the pages that are attached to the request.',
               'provider', jsonb_build_object('specialty', 'orthopedics', 'network', 'in', 'facility', 'Imaging center ' || n % 40),
               'attachments', jsonb_build_array('notes.pdf', 'imaging.pdf', 'therapy.pdf')),
           jsonb_build_object(
               'intake', jsonb_build_object('channel', 'fax', 'queue', 'q' || n % 7, 'batch', n / 100),
               'labels', jsonb_build_array('spine', 'imaging', 'outpatient', 'batch-' || n % 90),
               'notes', 'The payer asks for the notes of the last visit and for the result of the imaging before it decides. '
                   'The clinic has sent both, and waits for an answer.',
               'checks', jsonb_build_object('eligibility', true, 'benefits', true, 'network', true, 'duplicate', false)),
           now() - n * interval '150 seconds',
           now() - n * interval '150 seconds' + CASE WHEN n % 5 = 3 THEN interval '72 hours' ELSE interval '168 hours' END,
           now() - n * interval '150 seconds', now() - n * interval '150 seconds'
      FROM numbered c JOIN tenants t USING (slug)
    RETURNING id, tenant_id, created_at
), codes AS (
    INSERT INTO case_codes (id, tenant_id, case_id, code_type, code, description, confidence, created_at)
    SELECT md5('code' || n || k)::uuid, o.tenant_id, o.id, 'CPT', (ARRAY['72148', '73721'])[k],
           'MRI without contrast', 0.9, o.created_at + k * interval '1 second'
      FROM numbered c JOIN opened o USING (id), generate_series(1, 2) AS k
     WHERE n % 4 = 0
)
INSERT INTO tasks (id, tenant_id, case_id, assigned_to, title, description, status, due_date, created_at, updated_at)
SELECT md5('task' || n || k)::uuid, o.tenant_id, o.id, md5('person' || c.slug)::uuid,
       (ARRAY['Collect clinical notes', 'Call the payer'])[k], 'Ask for what the checklist lacks.',
       (ARRAY['pending', 'in_progress', 'completed'])[1 + (n / 4 + k) % 3],
       o.created_at + interval '3 days', o.created_at + k * interval '1 second', o.created_at + k * interval '1 second'
  FROM numbered c JOIN opened o USING (id), generate_series(1, 2) AS k
 WHERE n % 4 = 0
