-- The times that were filled in stay: the columns are an earlier migration's.
DROP TRIGGER g_clock_insert ON case_codes;
DROP TRIGGER g_clock_update ON case_codes;
DROP TRIGGER g_clock_delete ON case_codes;
DROP TRIGGER f_clock_start ON cases;
DROP TRIGGER f_clock ON cases;
DROP FUNCTION cases.clock_codes_1(), cases.keep_clock_1(), cases.start_clock_1(), cases.is_sent_back_1(timestamptz, timestamptz),
    cases.check_extension_1(timestamptz, text, timestamptz), cases.due_by_law_1(text, timestamptz),
    cases.pauses_1(uuid, uuid, text, uuid), cases.due_of_1(uuid, uuid, text, text, timestamptz),
    cases.clock_end_1(jsonb, text, timestamptz, text), cases.clocks_of_1(uuid, uuid, text), cases.specificity_1(text, text);
DROP INDEX cases_tenant_id_decision_due_at_id_idx, rulesets_tenant_id_payer_clock_idx;
SELECT audit.track_table('cases', 'case', told_of_changed => $$
    SELECT n.tenant_id, 'case_status_changed', 'case', n.id, jsonb_build_object('from', o.status, 'to', n.status)
      FROM old_rows o JOIN new_rows n ON n.id = o.id WHERE n.status <> o.status$$);
