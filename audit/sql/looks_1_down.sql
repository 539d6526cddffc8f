DROP FUNCTION audit.record_looks_1(jsonb, jsonb);
