-- A pending case that follows the denied case $1, as $2 says, and asks for the same. Its id.
INSERT INTO cases (previous_case_id, follow_up, ingestion_id, member_id_hash, payer, status, priority, diagnosis_codes,
                   confidence_json, extracted_data, metadata_json)
SELECT id, $2, ingestion_id, member_id_hash, payer, 'pending', priority, diagnosis_codes,
       confidence_json, extracted_data, metadata_json
  FROM cases WHERE id = $1
RETURNING id
