DROP TRIGGER z_checklist_insert ON rulesets;
DROP TRIGGER z_checklist_update ON rulesets;
DROP TRIGGER z_checklist_insert ON case_codes;
DROP TRIGGER z_checklist_update ON case_codes;
DROP TRIGGER z_checklist_insert ON cases;
DROP TRIGGER z_checklist_payer ON cases;
DROP TRIGGER e_requirement_true ON tasks;
DROP TRIGGER e_requirement_kept ON tasks;
DROP TRIGGER c_version_first ON rulesets;
DROP TRIGGER c_version_next ON rulesets;
DROP FUNCTION
    cases.ask_of_rulesets_1(), cases.ask_of_codes_1(), cases.ask_of_payer_1(), cases.ask_of_new_cases_1(),
    cases.checklist_1(uuid), cases.make_tasks_1(uuid[], uuid[], integer), cases.hold_rulesets_1(uuid[]), cases.rulesets_lock_1(uuid),
    cases.keep_requirement_1(), cases.matching_rulesets_1(uuid, uuid, text), cases.items_asked_for_1(jsonb),
    cases.procedure_pattern_1(text), cases.count_version_1();
DROP INDEX tasks_tenant_id_case_id_requirement_idx, rulesets_tenant_id_every_case_idx;
