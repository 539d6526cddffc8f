"""A tenant's own lists of codes: loaded whole or not at all, and then unknown codes warn."""

from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from cases.code_files import FaultyFile, read_codes
from cases.code_lists import CodeSystem
from cases.commands import load_codes
from tenancy.engine import FastlaneEngine
from tests.api.problems import fields
from tests.cases.writing import OVER_HTTP, WAYS, writer
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.test_commands import piccolo

# The stock login recommends HTTPS at each login; tests speak plain HTTP.
pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

Clinics = tuple[Clinic, Clinic]

LIST = "SELECT system, code, description FROM known_codes WHERE tenant_id = $1 ORDER BY system, code"
MARKS = "SELECT c.code, c.is_known, c.description FROM case_codes c WHERE c.tenant_id = $1 ORDER BY c.code"
DIAGNOSES = 'Code,Description\nm793,Panniculitis\n M25.561 ,"Pain in right knee, ""acute"""\n\nA00\n'
PROCEDURES = "72148,MRI of the lumbar spine\r\n97110,Exercises\r\n"


def write(tmp_path: Path, text: str | bytes) -> str:
    """A file with this in it."""
    path = tmp_path / "codes.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


async def listed(superuser: asyncpg.Connection, clinic: Clinic) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await superuser.fetch(LIST, clinic.id)]


async def test_the_command(
    database: TestDatabase, clinics: Clinics, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """Loads a file as codes are stored, with and without a header and descriptions; again it changes nothing, then the
    descriptions that differ; `--replace` removes what the file lacks. The other tenant has no list."""
    load = ("cases", "load_codes", write(tmp_path, DIAGNOSES), "--tenant=north", "--system=ICD-10-CM")
    expected = [
        *(("ICD-10-CM", "A00", None), ("ICD-10-CM", "M25.561", 'Pain in right knee, "acute"')),
        ("ICD-10-CM", "M79.3", "Panniculitis"),
    ]
    for told in ("3 new, 0 changed, 0 removed", "0 new, 0 changed, 0 removed"):
        status, output, errors = await piccolo(database, tmp_path, *load)
        assert (status, errors) == (0, ""), errors
        assert output.startswith(f"loaded 3 ICD-10-CM codes of north: {told}; ")
        assert output.count("\n") == 1
        assert await listed(superuser, clinics[0]) == expected
    write(tmp_path, "M79.3,Other\nB01,Varicella\n")
    status, output, _ = await piccolo(database, tmp_path, *load)
    assert (status, "1 new, 1 changed, 0 removed" in output) == (0, True)
    status, output, _ = await piccolo(database, tmp_path, *load, "--replace")
    assert (status, "0 new, 0 changed, 2 removed" in output) == (0, True)
    assert [row[1:] for row in await listed(superuser, clinics[0])] == [("B01", "Varicella"), ("M79.3", "Other")]
    assert await listed(superuser, clinics[1]) == []
    for wrong, said in (("--tenant=west", "'west'"), ("--system=SNOMED", "--system is one of CPT, HCPCS, ICD-10-CM")):
        status, output, errors = await piccolo(database, tmp_path, *load, wrong)
        assert (status, output, said in errors, errors.count("\n")) == (1, "", True, 1), errors
    status, _, errors = await piccolo(database, tmp_path, *load[:2], "absent.csv", *load[3:])
    assert (status, errors.count("\n")) == (1, 1)


async def test_nothing_of_a_faulty_file(
    engine: FastlaneEngine,
    clinics: Clinics,
    superuser: asyncpg.Connection,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every faulty line is named by its number, without what stands in it, and no line is loaded."""
    lines = ["code,description", "72148,MRI", "secret47", '97110,"two\nlines"', "7214", "x,y,z", "72148,again", "J1885"]
    with pytest.raises(SystemExit, match="1"):
        await load_codes(write(tmp_path, "\n".join(lines)), "north", "CPT")
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == [
        *(f"line {number}" for number in (3, 6, 7, 8, 9)), "nothing was loaded"
    ]  # fmt: skip
    assert "line 2" in said[3]
    assert "secret47" not in str(said)
    assert await listed(superuser, clinics[0]) == []


@pytest.mark.parametrize(
    ("data", "faults"),
    [
        (b"72148,\xff\n", ["line 1: is not UTF-8"]),
        (b'72148,a\n97110,"open\n\n', ["line 2: is not CSV"]),
        (b'72148,"a"b\n', ["line 1: is not CSV"]),
        (b"72148,a\x00b\n", ["line 1: holds a NUL"]),
        (b"72148\ncode,description\n", ["line 2: must be a CPT code"]),
        (b",described\n", ["line 1: must be a CPT code"]),
    ],
)
def test_faulty_files(data: bytes, faults: list[str]) -> None:
    """What is no UTF-8, no CSV, no text for PostgreSQL, a second header or a description of nothing is named."""
    with pytest.raises(FaultyFile) as raised:
        read_codes(data, CodeSystem.CPT)
    assert len(raised.value.faults) == len(faults)
    assert all(said.startswith(fault) for said, fault in zip(raised.value.faults, faults, strict=True))


async def test_unknown_codes_warn(
    engine: FastlaneEngine, clinics: Clinics, client: httpx.AsyncClient, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """By every way: known and unknown codes are marked and none is refused; an empty description is the list's."""
    for system, text in (("CPT", PROCEDURES), ("ICD-10-CM", DIAGNOSES)):
        await load_codes(write(tmp_path, text), "north", system)
    async with writer(client, superuser, clinics[0]) as to:
        for way in WAYS:
            if way == "owner's insert":
                continue
            for codes, unknown in ((["M793", "B01", "a00", "C50"], ["B01", "C50"]), (["M79.3"], []), ([], [])):
                case = await to.write(way, "cases", diagnosis_codes=codes)
                assert isinstance(case, dict), (way, case)
                assert case["unknown_codes"] == unknown, way
            for code, known, description in (("72148", True, "MRI of the lumbar spine"), ("99999", False, "")):
                row = await to.write(way, "case_codes", code_type="CPT", code=code, description="")
                assert isinstance(row, dict), (way, row)
                assert (row["is_known"], row["description"]) == (known, description), way
            row = await to.write(way, "case_codes", code_type="CPT", code="72148", description="Own words")
            assert isinstance(row, dict), (way, row)
            assert (row["is_known"], row["description"]) == (True, "Own words"), way
            row = await to.write(way, "case_codes", code_type="HCPCS", code="J1885")
            assert isinstance(row, dict), (way, row)
            assert row["is_known"] is None, way
    other = await client.post("/api/cases/", headers=clinics[1].headers(), json=clinics[1].body("cases"))
    assert (other.status_code, other.json()["unknown_codes"]) == (201, None)


async def test_nobody_chooses_what_is_known(
    engine: FastlaneEngine, clinics: Clinics, client: httpx.AsyncClient, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """Over HTTP the two columns can only be sent back; in the admin and in SQL they say what is true."""
    await load_codes(write(tmp_path, "72148\n"), "north", "CPT")
    await load_codes(write(tmp_path, "A00\n"), "north", "ICD-10-CM")
    forged: dict[str, dict[str, Any]] = {
        "cases": {"unknown_codes": ["Z99"], "diagnosis_codes": ["M79.3", "A00"]},
        "case_codes": {"is_known": True, "code_type": "CPT", "code": "97110"},
    }
    truth: dict[str, Any] = {"unknown_codes": ["M79.3"], "is_known": False}
    async with writer(client, superuser, clinics[0]) as to:
        for table, changes in forged.items():
            (column,) = changes.keys() & truth.keys()
            for way in WAYS:
                if way == "owner's insert":
                    continue
                if way in OVER_HTTP:
                    refused = await to.write(way, table, **changes)
                    assert not isinstance(refused, dict), way
                    assert [field.removeprefix("0.") for field in refused.fields] == [column], way
                    continue
                for sent in (changes, {column: changes[column]}) if "post" not in way else (changes,):
                    row = await to.write(way, table, **({} if "update" in way or "patch" in way else changes) | sent)
                    assert isinstance(row, dict), (way, row)
                    assert row[column] == truth[column], (way, sent)
    path = f"/api/case_codes/{clinics[0].rows['case_codes']}/"
    row = (await client.get(path, headers=clinics[0].headers())).json()
    assert (await client.put(path, headers=clinics[0].headers(), json=row)).status_code == 200
    assert fields(await client.patch(path, headers=clinics[0].headers(), json={"is_known": None})) == ["is_known"]


async def test_a_list_marks_what_is_there(
    engine: FastlaneEngine, clinics: Clinics, client: httpx.AsyncClient, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """Loading marks the codes of cases and the open cases, on the trail; a decided case stays as it was decided. When a
    list is emptied, nothing is known or unknown. The other tenant's rows are not touched."""
    north = clinics[0]
    headers, path = north.headers(), f"/api/cases/{north.rows['cases']}/"
    decided = (await client.post("/api/cases/", headers=headers, json=north.body("cases"))).json()["id"]
    await superuser.execute("UPDATE cases SET status = 'denied', denial_reason = 'x' WHERE id = $1", decided)
    await client.post("/api/case_codes/", headers=headers, json=north.body("case_codes"))
    others = await superuser.fetch("SELECT * FROM case_codes WHERE tenant_id = $1", clinics[1].id)
    await load_codes(write(tmp_path, "97110,Exercises\n"), "north", "CPT")
    await load_codes(write(tmp_path, "A00\n"), "north", "ICD-10-CM")
    assert [tuple(row) for row in await superuser.fetch(MARKS, north.id)] == [
        *(("72148", False, None), ("97110", True, "Exercises")),
    ]
    assert (await client.get(path, headers=headers)).json()["unknown_codes"] == ["M25.561"]
    assert (await client.get(f"/api/cases/{decided}/", headers=headers)).json()["unknown_codes"] is None
    entry = await superuser.fetchrow(
        "SELECT changes::text, actor FROM audit_logs WHERE entity_id = $1 AND action = 'update'",
        north.rows["case_codes"],
    )
    assert '"is_known": true' in entry["changes"]
    assert entry["actor"].startswith("script:")
    code = f"/api/case_codes/{north.rows['case_codes']}/"
    moved = (await client.patch(code, headers=headers, json={"code": "72148"})).json()
    assert (moved["is_known"], moved["description"]) == (False, None)
    await load_codes(write(tmp_path, ""), "north", "CPT", replace=True)
    await load_codes(write(tmp_path, "code\n"), "north", "ICD-10-CM", replace=True)
    assert {row["is_known"] for row in await superuser.fetch(MARKS, north.id)} == {None}
    assert (await client.get(path, headers=headers)).json()["unknown_codes"] is None
    assert await superuser.fetch("SELECT * FROM case_codes WHERE tenant_id = $1", clinics[1].id) == others


async def test_a_long_list(
    engine: FastlaneEngine, clinics: Clinics, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """More lines than go in one statement are all there; one that PostgreSQL refuses in the last undoes the first."""
    text = "".join(f"{number:05},Procedure {number}\n" for number in range(45_000))
    await load_codes(write(tmp_path, text), "north", "CPT")
    assert len(await listed(superuser, clinics[0])) == 45_000
    refuse = """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE 'no more' USING ERRCODE = 'FL409'; END $$;
                CREATE TRIGGER refuse BEFORE INSERT ON known_codes FOR EACH ROW
                    WHEN (NEW.code = '44999') EXECUTE FUNCTION refuse()"""
    await superuser.execute(refuse)
    await load_codes(write(tmp_path, ""), "north", "CPT", replace=True)
    with pytest.raises(SystemExit):
        await load_codes(write(tmp_path, text), "north", "CPT")
    assert await listed(superuser, clinics[0]) == []


async def test_a_list_holds_codes_only(superuser: asyncpg.Connection, clinics: Clinics) -> None:
    """In SQL too, what stands in a list is a code as it is stored; otherwise no case would ever meet it."""
    insert = "INSERT INTO known_codes (id, tenant_id, system, code) VALUES (gen_random_uuid(), $1, $2, $3)"
    for system, code in (("CPT", "J1885"), ("ICD-10-CM", "m79.3"), ("HCPCS", "")):
        with pytest.raises(asyncpg.CheckViolationError):
            await superuser.execute(insert, clinics[0].id, system, code)
    await superuser.execute(insert, clinics[0].id, "HCPCS", "J1885")
