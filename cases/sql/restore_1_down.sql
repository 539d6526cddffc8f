SELECT audit.track_table('tasks', 'task', told_of_new => $$
    SELECT n.tenant_id, 'case_assigned', 'case', n.case_id, jsonb_build_object('task_id', n.id, 'assigned_to', n.assigned_to)
      FROM new_rows n WHERE n.assigned_to IS NOT NULL
     UNION ALL
    SELECT n.tenant_id, 'task_completed', 'task', n.id, jsonb_build_object('case_id', n.case_id)
      FROM new_rows n WHERE n.status = 'completed'$$);
REVOKE USAGE ON SCHEMA cases FROM fastlane_restorer;
