"""Clocks come to a database with cases, and a tenant with clocks goes."""

import asyncpg
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.forwards import run_forwards

from tenancy.engine import FastlaneEngine
from tests.clinics import Clinic

CLOCKS = "2026-11-24T13:45:00:000000"
# As rows were before: created at some time, of either kind, some decided; and one that says when it was submitted.
AGED = """
SET session_replication_role = replica;
INSERT INTO cases (id, tenant_id, created_by, member_id_hash, payer, status, priority, diagnosis_codes, confidence_json,
                   extracted_data, submitted_at, created_at, updated_at)
SELECT gen_random_uuid(), c.tenant_id, c.created_by, 'hash_old', c.payer, moved.status, kind.priority, '{}', '{}', '{}',
       CASE WHEN moved.status = 'denied' THEN timestamptz '2026-02-01 08:00Z' END, made, made
  FROM cases c, unnest(ARRAY['pending', 'approved', 'denied', 'more_info_needed']) AS moved (status),
       unnest(ARRAY['normal', 'urgent']) AS kind (priority),
       generate_series(timestamptz '2026-03-07 22:00Z', '2026-03-09 22:00Z', '1 day') AS made;
UPDATE cases SET submitted_at = NULL, decision_due_at = NULL WHERE status <> 'denied';
SET session_replication_role = origin;
"""
WRONG = """
SELECT count(*) FROM cases
 WHERE submitted_at IS DISTINCT FROM CASE status WHEN 'denied' THEN timestamptz '2026-02-01 08:00Z' ELSE created_at END
    OR decision_due_at IS DISTINCT FROM submitted_at + CASE priority WHEN 'urgent' THEN interval '72h' ELSE '168h' END
    OR due_ruleset_id IS NOT NULL OR paused_at IS NOT NULL OR paused_seconds <> 0
"""
# What must be as it was.
KEPT = """
SELECT (SELECT count(*) FROM audit_logs), (SELECT count(*) FROM events), (SELECT count(*) FROM cases) AS cases,
       (SELECT count(*) FROM cases WHERE updated_at > created_at),
       (SELECT count(*) FROM pg_trigger WHERE tgenabled <> 'O'),
       (SELECT bool_and(relforcerowsecurity) FROM pg_class WHERE relname = 'cases')
"""
# Keys act in the order in which they were made, which a restored database may have another of.
CODES_GO_FIRST = """
ALTER TABLE cases DROP CONSTRAINT cases_tenant_id_fkey;
ALTER TABLE cases ADD CONSTRAINT cases_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id)
    ON DELETE CASCADE ON UPDATE CASCADE;
"""
RULESET = """
UPDATE rulesets SET rules_json = '{"clock": {"standard": {"hours": 1}}}' WHERE tenant_id = $1
"""


async def test_cases_that_were_there(
    clinics: tuple[Clinic, Clinic], engine: FastlaneEngine, superuser: asyncpg.Connection
) -> None:
    """The migration gives every case that is there its times, those of the law, as the owner, who is bound by FORCE; it
    leaves nothing on the trail, and triggers and FORCE as they were. Backwards and forwards again keep the times."""
    with engine.as_owner():
        assert (await run_backwards("cases", CLOCKS, auto_agree=True)).success
        await superuser.execute(AGED)
        before = await superuser.fetchrow(KEPT)
        for _ in range(2):
            assert (await run_forwards("all")).success
            assert await superuser.fetchval(WRONG) == 0
            assert await superuser.fetchrow(KEPT) == before
            assert (await run_backwards("cases", CLOCKS, auto_agree=True)).success
    assert before["cases"] == 2 + 2 * 24


async def test_a_tenant_goes(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> None:
    """A tenant is deleted with its clocks, be its codes the first to go: they move nothing any more."""
    await superuser.execute(CODES_GO_FIRST)
    await superuser.execute(RULESET, clinics[0].id)
    await superuser.execute("UPDATE cases SET priority = 'high'")
    due = "SELECT due_ruleset_id FROM cases WHERE tenant_id = $1"
    assert await superuser.fetchval(due, clinics[0].id) == clinics[0].rows["rulesets"]
    await superuser.execute("DELETE FROM tenants WHERE id = $1", clinics[0].id)
    assert await superuser.fetch(due, clinics[0].id) == []
