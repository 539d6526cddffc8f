-- A case comes back with its codes and tasks. Frozen: the migration that names this file has landed.

-- The triggers of full-text search look their functions up as whoever writes the row.
GRANT USAGE ON SCHEMA cases TO fastlane_restorer;

-- A task that comes back is neither assigned nor completed by that: as before, and nothing while rows are restored.
SELECT audit.track_table('tasks', 'task', told_of_new => $$
    SELECT n.tenant_id, 'case_assigned', 'case', n.case_id, jsonb_build_object('task_id', n.id, 'assigned_to', n.assigned_to)
      FROM new_rows n WHERE n.assigned_to IS NOT NULL AND current_setting('app.restores', true) IS DISTINCT FROM 'on'
     UNION ALL
    SELECT n.tenant_id, 'task_completed', 'task', n.id, jsonb_build_object('case_id', n.case_id)
      FROM new_rows n WHERE n.status = 'completed' AND current_setting('app.restores', true) IS DISTINCT FROM 'on'$$);
