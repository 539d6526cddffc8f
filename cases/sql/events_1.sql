-- What ingestions, cases and tasks tell, in the statement that writes the trail. No value of a document is in an event.
-- Frozen: the migration that names this file has landed.

DROP TRIGGER y_tell_created ON cases;
DROP TRIGGER y_tell_status_changed ON cases;
DROP FUNCTION cases.tell_events_1();

SELECT audit.track_table('ingestions', 'ingestion', told_of_new => '', told_of_changed => $$
    SELECT n.tenant_id, 'ingestion_' || n.status, 'ingestion', n.id, jsonb_build_object('from', o.status)
      FROM old_rows o JOIN new_rows n ON n.id = o.id WHERE n.status <> o.status AND n.status IN ('completed', 'failed')$$);

SELECT audit.track_table('cases', 'case', told_of_new => $$
    SELECT n.tenant_id, CASE current_setting('app.restores', true) WHEN 'on' THEN 'case_restored' ELSE 'case_created' END, 'case', n.id,
           jsonb_build_object('status', n.status, 'priority', n.priority, 'payer', n.payer)
      FROM new_rows n$$, told_of_changed => $$
    SELECT n.tenant_id, 'case_status_changed', 'case', n.id, jsonb_build_object('from', o.status, 'to', n.status)
      FROM old_rows o JOIN new_rows n ON n.id = o.id WHERE n.status <> o.status$$);

-- A case is assigned to whoever has a task of it.
SELECT audit.track_table('tasks', 'task', told_of_new => $$
    SELECT n.tenant_id, 'case_assigned', 'case', n.case_id, jsonb_build_object('task_id', n.id, 'assigned_to', n.assigned_to)
      FROM new_rows n WHERE n.assigned_to IS NOT NULL
     UNION ALL
    SELECT n.tenant_id, 'task_completed', 'task', n.id, jsonb_build_object('case_id', n.case_id)
      FROM new_rows n WHERE n.status = 'completed'$$, told_of_changed => $$
    SELECT n.tenant_id, 'case_assigned', 'case', n.case_id, jsonb_build_object('task_id', n.id, 'assigned_to', n.assigned_to)
      FROM old_rows o JOIN new_rows n ON n.id = o.id
     WHERE n.assigned_to IS DISTINCT FROM o.assigned_to AND n.assigned_to IS NOT NULL
     UNION ALL
    SELECT n.tenant_id, 'task_completed', 'task', n.id, jsonb_build_object('case_id', n.case_id)
      FROM old_rows o JOIN new_rows n ON n.id = o.id WHERE n.status = 'completed' AND o.status <> 'completed'$$);
