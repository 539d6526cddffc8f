ALTER TABLE known_codes DROP CONSTRAINT known_codes_code_check;
DROP TRIGGER b_values ON cases;
DROP TRIGGER b_values ON case_codes;
DROP TRIGGER b_values ON ingestions;
DROP TRIGGER b_values ON rulesets;
DROP FUNCTION cases.values_of_case_1(), cases.values_of_code_1(), cases.values_of_ingestion_1(), cases.values_of_ruleset_1(),
    cases.is_redacted_1(text), cases.fault_of_rules_1(jsonb), cases.fault_of_clock_1(jsonb), cases.is_source_metadata_1(jsonb),
    cases.is_extracted_data_1(jsonb), cases.is_confidence_1(jsonb), cases.is_moment_1(text), cases.is_day_1(text),
    cases.is_known_1(uuid, text, text), cases.unknown_codes_1(uuid, varchar[]), cases.code_1(text, text);
