"""What a redaction leaves of a value cannot be told by trying, not even one of a few."""

import hashlib
import json
from pathlib import Path

import asyncpg
import pytest

from audit.archive import check
from audit.redaction import redact
from audit.verify import verify
from tenancy.engine import FastlaneEngine
from tenancy.scoping import tenant
from tests.audit.archives import make
from tests.audit.sealing import seal
from tests.clinics import Clinic
from tests.conftest import Running
from tests.operators import operator

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

FEW = ("ALPHA-1111", "BETA-2222", "GAMMA-3333")


async def guesses(superuser: asyncpg.Connection) -> set[str]:
    """Which of the few fit what is left, to whoever reads all of the database."""
    record = await superuser.fetchrow("SELECT details FROM platform_logs WHERE action = 'redacted'")
    assert record is not None
    entries = json.loads(record["details"])["entries"]
    assert len(entries) == 2
    found = set()
    for entry in entries:
        row = await superuser.fetchrow(
            "SELECT header, a.changes, a.salt FROM audit.sealable_1 s JOIN audit_logs a USING (id) WHERE id = $1",
            entry["id"],
        )
        assert row is not None
        assert "[redacted]" in row["changes"]
        leaves = await superuser.fetchval("SELECT string_agg(leaves, '') FROM checkpoint_parts")
        for value in FEW:
            for salt in ("", f"{row['salt']}\n"):
                body = hashlib.sha256(f"{salt}{row['changes'].replace('[redacted]', value)}".encode()).hexdigest()
                leaf = hashlib.sha256(f"{row['header']}\n{body}".encode()).digest()
                if body == entry["was"] or leaf in leaves:
                    found.add(value)
    return found


@pytest.mark.parametrize("is_salted", [True, False])
async def test_one_of_three(
    engine: FastlaneEngine,
    clinics: tuple[Clinic, Clinic],
    superuser: asyncpg.Connection,
    tmp_path: Path,
    is_salted: bool,
) -> None:
    """None of three values fits what is left of one; of a row that is from before there were salts the right one does.
    Both verify, sealed before and redacted after, and an archive of them is in order."""
    await superuser.execute("ALTER TABLE audit_logs DISABLE TRIGGER a_append_only")
    await superuser.execute("UPDATE audit_logs SET salt = NULL WHERE tenant_id = $1", clinics[1].id)
    async with tenant("north", "admin@north.com") as transaction:
        for payer in (FEW[1], "Aetna"):
            await transaction.connection.execute("UPDATE cases SET payer = $1", payer)
    if not is_salted:
        await superuser.execute("UPDATE audit_logs SET salt = NULL WHERE tenant_id = $1", clinics[0].id)
    await superuser.execute("ALTER TABLE audit_logs ENABLE TRIGGER a_append_only")
    await seal(engine)
    await redact("north", [FEW[1]], "", really=True)
    assert await guesses(superuser) == (set() if is_salted else {FEW[1]})
    await seal(engine)
    assert (await verify(engine)).redacted == 2
    archived = await make(tmp_path / "archive")
    assert archived is not None
    for alone in (True, False):
        assert len((await check(archived.path, alone=alone)).redacted) == 2
    assert FEW[1] not in "".join(str(line) for line in await superuser.fetch("SELECT * FROM platform_logs"))


async def test_every_row_has_a_salt_of_its_own(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> None:
    """Whatever writes the trail, and however many rows in one statement, no two have the same, and none has none."""
    async with tenant("north", "admin@north.com") as transaction:
        many = "INSERT INTO tasks (case_id, title) SELECT id, n FROM cases, generate_series(1, 50) AS n"
        await transaction.connection.execute(many)
        await transaction.connection.execute("UPDATE tasks SET title = title || '.'")
    count, distinct = await superuser.fetchrow("SELECT count(*), count(DISTINCT salt) FROM audit_logs")
    assert count == distinct > 100


async def test_nothing_shows_a_salt(
    running: Running, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """The trail has it in the database alone: in no row, list, CSV or document of the API, and not in the admin."""
    entry = clinics[0].rows["audit_logs"]
    salt = str(await superuser.fetchval("SELECT salt FROM audit_logs WHERE id = $1", entry))
    headers = clinics[0].headers()
    asked = [("", {}), ("", {"Accept": "text/csv"}), ("schema/", {}), (f"{entry}/", {}), (f"?id={entry}", {})]
    answers = [await running.client.get(f"/api/audit_logs/{path}", headers=headers | accept) for path, accept in asked]
    async with operator(running.url) as gui:
        answers += [await gui.get(f"/api/tables/audit_logs/{path}") for path in ("", "schema/", f"{entry}/")]
    assert {answer.status_code for answer in answers} == {200}
    assert all(str(entry) in answer.text for answer in answers[:2])
    assert all(salt not in answer.text and '"salt"' not in answer.text for answer in answers)
    assert (await running.client.get("/api/audit_logs/?__order=salt", headers=headers)).status_code == 400
