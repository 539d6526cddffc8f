-- $1: clinics. Each has one user, whose subject is the clinic's slug, and 50 ingestions.
WITH clinic AS (
    INSERT INTO tenants (id, slug, name)
    SELECT md5('clinic' || n)::uuid, 'clinic-' || lpad(n::text, 2, '0'), 'Clinic ' || n
      FROM generate_series(1, $1) AS n
    RETURNING id, slug
), person AS (
    INSERT INTO users (id, tenant_id, email, name, role, auth_id)
    SELECT md5('person' || slug)::uuid, id, 'admin@' || slug || '.example', 'Synthetic Person', 'admin', slug FROM clinic
)
INSERT INTO ingestions (id, tenant_id, source_type, source_metadata, status, error_message, created_at)
SELECT md5('ingestion' || slug || n)::uuid, id, (ARRAY['email', 'pdf'])[1 + n % 2],
       jsonb_build_object('source', 'synthetic', 'number', n),
       (ARRAY['completed', 'failed', 'pending', 'processing'])[1 + n % 4],
       CASE n % 4 WHEN 1 THEN 'The attachment could not be read.' END,
       now() - n * interval '7 hours'
  FROM clinic, generate_series(1, 50) AS n
