-- Tasks are counted of the cases of one page only.
SELECT page.id,
       -- A clock that stands still does not run out.
       coalesce(page.decision_due_at < coalesce(page.paused_at, now()), false) AS is_overdue,
       (SELECT count(*) FROM tasks
         WHERE tasks.tenant_id = page.tenant_id AND tasks.case_id = page.id
           AND tasks.status IN ('pending', 'in_progress')) AS open_tasks
  FROM (SELECT cases.id, cases.tenant_id, cases.decision_due_at, cases.paused_at
          FROM cases
         WHERE cases.status IN ('pending', 'more_info_needed')
           AND true -- and what was asked for
         ORDER BY cases.decision_due_at, cases.id
         LIMIT $1 OFFSET $2) AS page
 ORDER BY page.decision_due_at, page.id
