-- What the cases of some tenants amount to, as one JSON document. Read once, then counted from memory.
-- $1 the tenants, $2 and $3 the first and the last day or NULL, $4 a payer or NULL, $5 how many payers have a name.
WITH clinics AS (
    SELECT
        id, time_zone,
        coalesce($2::date::timestamp AT TIME ZONE time_zone, '-infinity') AS starts,
        coalesce(($3::date + 1)::timestamp AT TIME ZONE time_zone, 'infinity') AS ends
    FROM tenants
    WHERE id = ANY ($1::uuid[])
),
stored AS MATERIALIZED (
    SELECT
        c.payer, c.status,
        CASE WHEN c.status = 'denied' THEN c.denial_reason END AS denial_reason,
        c.created_at >= t.starts AND c.created_at < t.ends AS is_counted,
        CASE WHEN c.status NOT IN ('approved', 'denied') THEN
            width_bucket(
                date_part('epoch', now() - coalesce(c.submitted_at, c.created_at)) / 86400,
                ARRAY[1, 3, 7, 14, 30]::double precision[]
            )
        END AS age,
        -- A clock that stands still was overdue before it stopped, or is not.
        c.status NOT IN ('approved', 'denied') AND c.decision_due_at < coalesce(c.paused_at, now()) AS is_overdue,
        CASE WHEN c.status IN ('approved', 'denied') AND c.decided_at >= t.starts AND c.decided_at < t.ends THEN
            date_trunc('month', c.decided_at AT TIME ZONE t.time_zone)
        END AS month,
        date_part('epoch', c.decided_at - c.submitted_at) / 3600 AS hours,
        c.decided_at <= c.decision_due_at AS is_in_time
    FROM clinics t JOIN cases c ON c.tenant_id = t.id
    WHERE $4::text IS NULL OR c.payer = $4
),
counted AS MATERIALIZED (
    SELECT
        payer, status, age,
        count(*) AS stored, count(*) FILTER (WHERE is_counted) AS cases, count(*) FILTER (WHERE is_overdue) AS overdue
    FROM stored
    GROUP BY payer, status, age
),
named AS MATERIALIZED (
    SELECT payer, (row_number() OVER (ORDER BY sum(stored) DESC, payer COLLATE "C"))::integer AS rank
    FROM counted
    GROUP BY payer
    ORDER BY rank
    LIMIT $5::integer
),
told AS MATERIALIZED (
    SELECT n.payer, n.rank, c.status, c.age, c.stored, c.cases, c.overdue
    FROM counted c LEFT JOIN named n ON n.payer = c.payer
),
summed AS MATERIALIZED (
    SELECT
        grouping(n.rank) = 0 AS is_of_payer, grouping(s.month) = 0 AS is_of_month, n.rank,
        to_char(s.month, 'YYYY-MM') AS month,
        count(s.hours) AS cases,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY s.hours) AS median_hours,
        percentile_cont(0.9) WITHIN GROUP (ORDER BY s.hours) AS p90_hours,
        count(s.is_in_time) AS due, count(*) FILTER (WHERE s.is_in_time) AS in_time
    FROM stored s LEFT JOIN named n ON n.payer = s.payer
    WHERE s.month IS NOT NULL
    GROUP BY GROUPING SETS ((), (n.rank), (s.month), (n.rank, s.month))
),
-- Few are left once equal ones are counted: only these are trimmed and folded.
given AS (
    SELECT denial_reason, count(*) AS cases
    FROM stored
    WHERE month IS NOT NULL AND status = 'denied'
    GROUP BY denial_reason
),
spelled AS MATERIALIZED (
    SELECT coalesce(btrim(denial_reason, E' \t\n\r\f\v\u00a0'), '') AS reason, sum(cases) AS cases
    FROM given
    GROUP BY reason
),
reasons AS MATERIALIZED (
    SELECT
        (array_agg(reason ORDER BY cases DESC, reason COLLATE "C"))[1] AS reason, sum(cases) AS cases,
        row_number() OVER (ORDER BY sum(cases) DESC, lower(reason) COLLATE "C") AS rank
    FROM spelled
    WHERE reason <> ''
    GROUP BY lower(reason)
)
SELECT json_build_object(
    'generated_at', now(),
    'time_zone', (SELECT min(time_zone) FROM clinics HAVING count(DISTINCT time_zone) = 1),
    'total', (SELECT coalesce(sum(cases), 0) FROM told),
    'open', (SELECT coalesce(sum(stored), 0) FROM told WHERE age IS NOT NULL),
    'overdue', (SELECT coalesce(sum(overdue), 0) FROM told),
    'by_status', (
        SELECT json_agg(json_build_object('status', s.status, 'cases', coalesce(t.cases, 0)) ORDER BY s.place)
        FROM unnest(ARRAY['pending', 'more_info_needed', 'approved', 'denied']) WITH ORDINALITY AS s(status, place)
        LEFT JOIN (SELECT status, sum(cases) AS cases FROM told GROUP BY status) AS t ON t.status = s.status
    ),
    'by_payer', (
        SELECT coalesce(json_agg(json_build_object('payer', payer, 'cases', cases) ORDER BY rank), '[]')
        FROM (SELECT payer, rank, sum(cases) AS cases FROM told GROUP BY payer, rank) AS t
        WHERE cases > 0
    ),
    'by_payer_and_status', (
        SELECT coalesce(json_agg(
            json_build_object('payer', payer, 'status', status, 'cases', cases)
            ORDER BY rank, array_position(ARRAY['pending', 'more_info_needed', 'approved', 'denied'], status::text)
        ), '[]')
        FROM (SELECT payer, rank, status, sum(cases) AS cases FROM told GROUP BY payer, rank, status) AS t
        WHERE cases > 0
    ),
    'ageing', (
        SELECT json_agg(
            json_build_object('from_days', b.days, 'until_days', b.until, 'cases', coalesce(t.cases, 0)) ORDER BY b.age
        )
        FROM (VALUES (0, 0, 1), (1, 1, 3), (2, 3, 7), (3, 7, 14), (4, 14, 30), (5, 30, NULL)) AS b(age, days, until)
        LEFT JOIN (SELECT age, sum(stored) AS cases FROM told GROUP BY age) AS t ON t.age = b.age
    ),
    'ageing_by_payer', (
        SELECT coalesce(json_agg(
            json_build_object('payer', payer, 'from_days', b.days, 'until_days', b.until, 'cases', cases)
            ORDER BY rank, b.age
        ), '[]')
        FROM (SELECT payer, rank, age, sum(stored) AS cases FROM told GROUP BY payer, rank, age) AS t
        JOIN (VALUES (0, 0, 1), (1, 1, 3), (2, 3, 7), (3, 7, 14), (4, 14, 30), (5, 30, NULL)) AS b(age, days, until)
            ON t.age = b.age
    ),
    'time_to_decision', json_build_object(
        'overall', (
            SELECT json_build_object('cases', cases, 'median_hours', median_hours, 'p90_hours', p90_hours)
            FROM summed WHERE NOT is_of_payer AND NOT is_of_month
        ),
        'by_payer', (
            SELECT coalesce(json_agg(json_build_object(
                'payer', payer, 'cases', cases, 'median_hours', median_hours, 'p90_hours', p90_hours
            ) ORDER BY rank), '[]')
            FROM summed LEFT JOIN named USING (rank) WHERE is_of_payer AND NOT is_of_month AND cases > 0
        ),
        'by_month', (
            SELECT coalesce(json_agg(json_build_object(
                'month', month, 'cases', cases, 'median_hours', median_hours, 'p90_hours', p90_hours
            ) ORDER BY month), '[]')
            FROM summed WHERE is_of_month AND NOT is_of_payer AND cases > 0
        ),
        'by_payer_and_month', (
            SELECT coalesce(json_agg(json_build_object(
                'payer', payer, 'month', month,
                'cases', cases, 'median_hours', median_hours, 'p90_hours', p90_hours
            ) ORDER BY rank, month), '[]')
            FROM summed LEFT JOIN named USING (rank) WHERE is_of_payer AND is_of_month AND cases > 0
        )
    ),
    'decided_in_time', json_build_object(
        'overall', (
            SELECT json_build_object(
                'cases', due, 'in_time', in_time, 'share', in_time::double precision / nullif(due, 0)
            )
            FROM summed WHERE NOT is_of_payer AND NOT is_of_month
        ),
        'by_payer', (
            SELECT coalesce(json_agg(json_build_object(
                'payer', payer, 'cases', due, 'in_time', in_time, 'share', in_time::double precision / nullif(due, 0)
            ) ORDER BY rank), '[]')
            FROM summed LEFT JOIN named USING (rank) WHERE is_of_payer AND NOT is_of_month AND due > 0
        )
    ),
    'denial_reasons', json_build_object(
        'reasons', (
            SELECT coalesce(json_agg(json_build_object('reason', reason, 'cases', cases) ORDER BY rank), '[]')
            FROM reasons WHERE rank <= 20
        ),
        'other', (SELECT coalesce(sum(cases), 0) FROM reasons WHERE rank > 20),
        'not_given', (SELECT coalesce(sum(cases), 0) FROM spelled WHERE reason = '')
    )
) AS document
