"""Verifying finds what was done to the trail, the chain or the ledger, names it, and is content with the rest."""

import re
import shutil
from pathlib import Path

import asyncpg
import pytest

from audit.authority import authority_for
from audit.chain import Fault
from audit.ledger import LedgerConflict, ledger_of
from audit.sealer import Sealer
from audit.verify import Verified, verify
from tenancy.engine import FastlaneEngine
from tests.audit.tampered import copied, seal_three
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.test_commands import piccolo

# A row of a tenant in checkpoint 2, and one of the platform in checkpoint 1.
NORTH = (
    "(SELECT ids[1] FROM checkpoint_parts WHERE checkpoint = 2 AND source = 'audit_logs' ORDER BY tenant_id LIMIT 1)"
)
LOOK = "(SELECT ids[1] FROM checkpoint_parts WHERE checkpoint = 2 AND source = 'access_logs' LIMIT 1)"
ROW = r"audit_logs row \S+ of tenant (north|south), checkpoint 2: "
COPY = """INSERT INTO audit_logs (id, tenant_id, action, entity_type, entity_id, changes, actor, created_at{columns})
SELECT gen_random_uuid(), tenant_id, action, entity_type, entity_id, changes, actor, {time}{values}
  FROM audit_logs WHERE id = {row}"""
CUT = """DELETE FROM audit_logs WHERE transaction_id >= (SELECT upto FROM checkpoints WHERE id = 2);
DELETE FROM access_logs WHERE transaction_id >= (SELECT upto FROM checkpoints WHERE id = 2);
DELETE FROM checkpoint_parts WHERE checkpoint = 3; DELETE FROM checkpoints WHERE id = 3"""
SOMEBODY = "00000000-0000-4000-8000-000000000001"
RECORD = f"""INSERT INTO platform_logs (id, action, tenant_id, details, actor, created_at)
VALUES (gen_random_uuid(), '{{action}}', '{SOMEBODY}', {{details}} || ':authority {{action}}:'::jsonb, 'somebody',
        clock_timestamp())"""
SUBJECTS = {"redacted": SOMEBODY, "archived": "2 digest"}
TENANT_RECORD = "DELETE FROM platform_logs WHERE action = 'tenant_deleted'"
DELETE_SOUTH = "SET session_replication_role = origin; DELETE FROM tenants WHERE slug = 'south'"
BODY = "salt::text || E'\\n' || changes"


def redact(row: str, now: str, of: str = BODY) -> str:
    """A redaction of a row that was sealed, and the record of it with such a hash of the body that it has now."""
    was = f"(SELECT {sha256(of)} FROM audit_logs WHERE id = {row})"
    entry = f"jsonb_build_object('source', 'audit_logs', 'id', {row}, 'was', {was}, 'is', {now})"
    record = RECORD.format(action="redacted", details=f"jsonb_build_object('entries', jsonb_build_array({entry}))")
    return f"{record}; UPDATE audit_logs SET changes = '{{\"before\": {{}}}}' WHERE id = {row}"


def sha256(value: str) -> str:
    return f"encode(sha256(convert_to(({value})::text, 'UTF8')), 'hex')"


NOW = sha256(f"""(SELECT salt FROM audit_logs WHERE id = {NORTH}) || E'\\n' || '{{"before": {{}}}}'""")
ELSE = sha256("'else'")
REDACTED = redact(NORTH, NOW)
SEALED_BEFORE = "(SELECT upto FROM checkpoints WHERE id = 2)"
ARCHIVED = (
    f"DELETE FROM audit_logs WHERE transaction_id < {SEALED_BEFORE};"
    f"DELETE FROM access_logs WHERE transaction_id < {SEALED_BEFORE};"
    + RECORD.format(
        action="archived", details="""'{"upto_checkpoint": 2, "file": "a", "sha256": "digest", "rows": 1}'::jsonb"""
    )
)

TAMPERED = {
    f"UPDATE audit_logs SET changes = '{{}}' WHERE id = {NORTH}": ROW + "was edited",
    f"UPDATE audit_logs SET salt = gen_random_uuid() WHERE id = {NORTH}": ROW + "was edited",
    f"UPDATE audit_logs SET salt = NULL WHERE id = {NORTH}": ROW + "was edited",
    f"UPDATE audit_logs SET actor = 'user:x' WHERE id = {NORTH}": ROW + "(was|user_id was) edited",
    f"UPDATE audit_logs SET user_id = gen_random_uuid() WHERE id = {NORTH}": ROW + "user_id was edited",
    f"UPDATE audit_logs SET created_at = created_at - interval '1 day' WHERE id = {NORTH}": ROW + "was edited",
    f"UPDATE audit_logs SET created_at = '-infinity' WHERE id = {NORTH}": ROW + "was edited",
    f"UPDATE audit_logs SET transaction_id = 1 WHERE id = {NORTH}": ROW + "was edited",
    f"UPDATE access_logs SET row_count = 7 WHERE id = {LOOK}": r"access_logs row .* checkpoint 2: was edited",
    "UPDATE platform_logs SET actor = 'sql:other'": r"platform_logs row \S+, checkpoint 1: was edited",
    f"DELETE FROM audit_logs WHERE id = {NORTH}": ROW + "is missing",
    f"DELETE FROM access_logs WHERE id = {LOOK}": r"access_logs row .* checkpoint 2: is missing",
    # Rows that were not there: as of now, as of then, as of later, as of nobody.
    COPY.format(
        columns="", values="", row=NORTH, time="now() - interval '1 hour'"
    ): r"4: was backdated.*after checkpoint 3",
    COPY.format(columns="", values="", row=NORTH, time="now() + interval '1 hour'"): r"checkpoint 4: its time is later",
    COPY.format(columns=", transaction_id", values=", transaction_id", row=NORTH, time="created_at"): ROW + "was added",
    COPY.format(columns=", transaction_id", values=", 1 << 50", row=NORTH, time="now()"): "which no transaction had",
    # The chain.
    "UPDATE checkpoints SET entries = entries + 1 WHERE id = 2": "checkpoint 2: was edited",
    "UPDATE checkpoints SET created_at = '-infinity' WHERE id = 2": "checkpoint 2: was edited",
    "UPDATE checkpoints SET previous_hash = sha256('') WHERE id = 2": "checkpoint 2: does not follow",
    "UPDATE checkpoints SET signature = sha512('') WHERE id = 3": "checkpoint 3: has a forged signature",
    "UPDATE checkpoints SET signature = '' WHERE id = 2": "checkpoint 2: is not signed",
    "UPDATE checkpoints SET key_id = 'mine' WHERE id = 2": "checkpoint 2: is signed with the key 'mine'",
    "DELETE FROM checkpoints WHERE id = 1": "checkpoint 1: is missing",
    "DELETE FROM checkpoints WHERE id = 2": "checkpoint 2: is missing",
    "DELETE FROM checkpoint_parts WHERE checkpoint = 2 AND source = 'access_logs'": "checkpoint 2: one of its parts",
    "UPDATE checkpoint_parts SET leaves = sha256('') WHERE cardinality(ids) = 1": "checkpoint 1: one of its parts",
    "UPDATE checkpoint_parts SET ids[1] = ids[2] WHERE cardinality(ids) > 1": "checkpoint 1: one of its parts",
    CUT: "checkpoint 3: is in the ledger and not in the database",
    "DELETE FROM checkpoint_parts; DELETE FROM checkpoints": "checkpoint 1: is in the ledger",
    # What the platform records.
    "UPDATE platform_logs SET details = '{\"base\": 7}'": "platform_logs: no record says that",
    f"{DELETE_SOUTH}; SET session_replication_role = replica; {TENANT_RECORD}": r"checkpoint 1: tenant \S+ is gone",
    "DELETE FROM tenants WHERE slug = 'south'": r"checkpoint 1: tenant \S+ is gone",
    f"{REDACTED}; UPDATE audit_logs SET changes = '{{}}' WHERE id = {NORTH}": ROW + "was edited",
    redact(NORTH, ELSE): ROW + "was edited",
    f"{REDACTED}; {redact(NORTH, ELSE, of='id')}": "its redactions do not follow",
    ARCHIVED.replace(
        "DELETE FROM access_logs", "SELECT 1 FROM access_logs"
    ): "checkpoint 1: is there, and was archived",
    f"{ARCHIVED}; DELETE FROM audit_logs": "checkpoint 3: is missing",
    REDACTED.replace(":authority redacted:", "{}"): "nobody who may has redacted this",
    ARCHIVED.replace(":authority archived:", "{}"): "nobody who may has archived this",
    REDACTED.replace("redacted:", "archived:"): "nobody who may has redacted this",
}
HONEST = {
    "SELECT 1": (0, 0),
    f"{DELETE_SOUTH}": (0, 0),
    REDACTED: (1, 0),
    f"{REDACTED}; {REDACTED}": (1, 0),
    ARCHIVED: (0, 2),
    f"{ARCHIVED}; {DELETE_SOUTH}": (0, 2),
    "SET session_replication_role = origin; DELETE FROM users WHERE email LIKE 'spare@%'": (0, 0),
}


# As if the database had been there for a while.
AGE = """SET session_replication_role = replica;
UPDATE platform_logs SET created_at = created_at - interval '1 day'"""


def authorized(statements: str, engine: FastlaneEngine) -> str:
    """The statements, in which each record has a signature of its own over what it is of."""

    def sign(found: re.Match[str]) -> str:
        authority = authority_for(engine.databases.settings, found[1], SUBJECTS[found[1]])
        return f'{{"authority": {authority}}}'

    return re.sub(":authority (redacted|archived):", sign, statements)


async def found(engine: FastlaneEngine) -> str:
    """What verifying names; nothing when all is well."""
    try:
        await verify(engine)
    except Fault as fault:
        return str(fault)
    return ""


@pytest.fixture
async def sealed(engine: FastlaneEngine, clinics: tuple[Clinic, Clinic], database: TestDatabase) -> TestDatabase:
    superuser = await asyncpg.connect(database.superuser)
    await superuser.execute(AGE)
    await superuser.close()
    await seal_three(engine, clinics[0].id)
    return database


async def test_tampering_is_named(sealed: TestDatabase, engine: FastlaneEngine, tmp_path: Path) -> None:
    """Each way to change what is recorded, the chain, or the records about it, is found, and the first bad named."""
    missed = {}
    for statements, expected in TAMPERED.items():
        async with copied(sealed, tmp_path) as superuser:
            await superuser.execute(authorized(statements, engine))
            told = await found(engine)
        if not re.search(expected, told):
            missed[statements] = f"{told!r} for {expected!r}"
    assert missed == {}


async def test_the_honest_pass(sealed: TestDatabase, engine: FastlaneEngine, tmp_path: Path) -> None:
    """An untouched trail verifies with all its rows counted, and so do deletion of a tenant or a user, redaction and
    archive."""
    count = "SELECT (SELECT count(*) FROM audit_logs) + (SELECT count(*) FROM access_logs)"
    for statements, (redacted, archived) in HONEST.items():
        async with copied(sealed, tmp_path) as superuser:
            await superuser.execute(authorized(statements, engine))
            verified = await verify(engine)
            rows = await superuser.fetchval(f"{count} + (SELECT count(*) FROM platform_logs)")
            last = await superuser.fetchval("SELECT max(id) FROM checkpoints")
        told = Verified(rows, last, redacted=redacted, archived=archived)
        assert (statements, verified) == (statements, told)


@pytest.mark.usefixtures("clinics")
async def test_older_than_the_database(engine: FastlaneEngine, superuser: asyncpg.Connection) -> None:
    """Before there is any checkpoint, a row from before the database was made is a backdated one."""
    some = "(SELECT id FROM audit_logs LIMIT 1)"
    await superuser.execute(COPY.format(columns="", values="", row=some, time="now() - interval '1 hour'"))
    assert re.search("checkpoint 1: was backdated: .* before the epoch", await found(engine))


async def test_the_end_that_was_cut_off(sealed: TestDatabase, engine: FastlaneEngine, tmp_path: Path) -> None:
    """What was sealed over a cut-off end is not what the ledger has. Without a ledger it is missed, with a warning."""
    async with copied(sealed, tmp_path) as superuser:
        await superuser.execute(CUT)
        await superuser.execute("SET session_replication_role = origin; UPDATE rulesets SET payer = 'x'")
        sealer = Sealer(engine)
        with pytest.raises(LedgerConflict, match="checkpoint 3: is not the one that the ledger"):
            await sealer.seal_all(wait=True)
        with pytest.raises(LedgerConflict, match="checkpoint 3: is not the one that the ledger"):
            await sealer.seal_all(wait=True)
        assert "checkpoint 3: is not the one that the ledger" in await found(engine)
    async with copied(sealed, tmp_path) as superuser:
        await superuser.execute(CUT)
        shutil.rmtree(engine.databases.settings.data_dir / "audit")
        (warning,) = (await verify(engine)).warnings
        assert "there is no ledger" in warning
        assert (await verify(engine)).warnings == []


@pytest.mark.parametrize(
    ("line", "pattern", "replacement", "expected"),
    [
        (1, b".+\n", b"", "checkpoint 2: its line in the ledger is missing"),
        (1, b".+\n", b"{}\n", "has a line that is no checkpoint"),
        (2, b".+\n", b"no JSON\n", "has a line that is no checkpoint"),
        (1, b'"upto": ', b'"upto": 1', "checkpoint 2: is not the one that the ledger has"),
    ],
)
@pytest.mark.usefixtures("sealed")
async def test_the_ledger_itself(
    engine: FastlaneEngine, line: int, pattern: bytes, replacement: bytes, expected: str
) -> None:
    """A line that is missing or wrong is named. Half a line at the end, which a crash leaves, is not there."""
    ledger = await ledger_of(engine)
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join([*lines, lines[0][:30]]))
    assert await found(engine) == ""
    assert ledger.path.read_bytes().splitlines(keepends=True)[:3] == lines
    lines[line] = re.sub(pattern, replacement, lines[line])
    ledger.path.write_bytes(b"".join(lines))
    assert expected in await found(engine)


async def test_the_command(sealed: TestDatabase, tmp_path: Path) -> None:
    """Exit 0 and a count, or exit 1 and the row; of one tenant only its own rows."""
    for command, told in (("seal", "sealed 2 rows in checkpoint 4\n"), ("seal", "nothing to seal\n")):
        assert await piccolo(sealed, tmp_path, "audit", command) == (0, told, "")
    status, output, errors = await piccolo(sealed, tmp_path, "audit", "verify")
    assert (status, errors) == (0, "")
    assert re.fullmatch(r"verified \d+ rows in 4 checkpoints\n", output)
    superuser = await asyncpg.connect(sealed.superuser)
    await superuser.execute(
        """SET session_replication_role = replica; UPDATE audit_logs SET changes = '{}'
            WHERE tenant_id = (SELECT id FROM tenants WHERE slug = 'south')"""
    )
    await superuser.close()
    status, output, errors = await piccolo(sealed, tmp_path, "audit", "verify")
    assert (status, output) == (1, "")
    assert re.fullmatch(r"audit_logs row \S+ of tenant south, checkpoint 1: was edited\n", errors)
    assert (await piccolo(sealed, tmp_path, "audit", "verify", "--tenant=north"))[0] == 0
    assert (await piccolo(sealed, tmp_path, "audit", "verify", "--tenant=south"))[0] == 1
    assert (await piccolo(sealed, tmp_path, "audit", "verify", "--tenant=east"))[0] == 1
