SELECT '{"rows":' || coalesce(json_agg(c), '[]')::text FROM (
    SELECT id, tenant_id, ingestion_id, created_by, member_id_hash, payer, status, priority, diagnosis_codes,
           confidence_json, extracted_data, metadata_json, created_at, updated_at
      FROM cases WHERE status = $1 ORDER BY created_at DESC, id LIMIT 20
) AS c
