SELECT row_to_json(c)::text FROM (
    SELECT id, tenant_id, ingestion_id, created_by, member_id_hash, payer, status, priority, diagnosis_codes,
           confidence_json, extracted_data, metadata_json, created_at, updated_at
      FROM cases WHERE id = $1
) AS c
