"""Codes have one spelling, whoever writes them, and what is none is refused."""

import json
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import strategies as st

from audit.redaction import redact
from cases.code_lists import CodeSystem
from cases.codes import normalised
from tenancy.engine import FastlaneEngine
from tests.api.problems import fields
from tests.cases.generated import generated
from tests.cases.writing import OVER_HTTP, WAYS, Refused, writer
from tests.clinics import Clinic

# The stock login recommends HTTPS at each login; tests speak plain HTTP.
pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

Clinics = tuple[Clinic, Clinic]

# Beside what is right: letters that become ASCII ones in upper case, other scripts' digits, blanks that are none.
ODD = "ſıßKÅ٣９Ⅴ\u00a0\u2003\u200b\u0085\x0b\x0c\x1f"
BLANKS = st.text(" \t\r\n", max_size=3)
NEAR = st.text("AaBbFfTtUuVvWwZzMm0123456789.. \t\n" + ODD, max_size=9)
RIGHT = st.from_regex(
    r"[A-Za-z][0-9][0-9AaBb](\.?[0-9A-Za-z]{1,4})?|[0-9]{4}[0-9FTft]|[A-Va-v][0-9]{4}", fullmatch=True
)
STRINGS = st.one_of(
    st.tuples(BLANKS, RIGHT, BLANKS).map("".join),
    st.tuples(BLANKS, NEAR, BLANKS).map("".join),
    st.tuples(RIGHT, st.integers(0, 8), st.sampled_from(ODD + ". -")).map(lambda t: t[0][: t[1]] + t[2] + t[0][t[1] :]),
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12),
)
EXAMPLES: dict[CodeSystem, dict[str, str | None]] = {
    CodeSystem.ICD10CM: {
        "M79.3": "M79.3", "m793": "M79.3", "M79": "M79", " s72001a\r\n": "S72.001A", "C4A.1": "C4A.1", "Z3AB": "Z3A.B",
        "M79.": None, "M79 3": None, "M7.93": None, "M79.12345": None, "M7912345": None, "M79..3": None, "": None,
        "M79.3\u00a0": None, "ſ72.0": None, "M٧9": None, "M79,3": None, "7M9": None, "M7C": None,
    },
    CodeSystem.CPT: {
        "72148": "72148", "\t0001f ": "0001F", "0042T": "0042T", "7214": None, "721480": None, "0001U": None,
        "72148-26": None, "７2148": None, "72 148": None, "J1885": None,
    },
    CodeSystem.HCPCS: {
        "J1885": "J1885", "j1885": "J1885", "V5008": "V5008", "W0001": None, "J188": None, "J18855": None,
        "72148": None,
    },
}  # fmt: skip
DIAGNOSES = [" m793\n", "M79", "s72.001a", "M79.3"]
NO_DIAGNOSES = ["M79.", "M79 3", "", "M79.3\u00a0", "ſ72", "secret-47"]


async def test_python_and_postgresql_agree(superuser: asyncpg.Connection) -> None:
    """On thousands of strings of every kind, near codes and far from them; each system finds codes among them."""
    strings = [*generated(STRINGS, 6000), *(text for examples in EXAMPLES.values() for text in examples)]
    query = """SELECT array(SELECT cases.code_1(t.text, s.system)
                              FROM unnest($1::text[]) WITH ORDINALITY AS t (text, place) ORDER BY t.place) AS found
                 FROM unnest($2::text[]) WITH ORDINALITY AS s (system, place) ORDER BY s.place"""
    rows = await superuser.fetch(query, strings, [system.value for system in CodeSystem])
    for system, row in zip(CodeSystem, rows, strict=True):
        expected = [normalised(text, system) for text in strings]
        assert list(zip(strings, row["found"], strict=True)) == list(zip(strings, expected, strict=True)), system
        assert expected.count(None) < len(strings) - 300, system
        assert EXAMPLES[system].items() <= dict(zip(strings, expected, strict=True)).items()


async def test_every_way_stores_one_spelling(
    client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection
) -> None:
    """Trimmed, in upper case, with its dot; in order and with duplicates; what is answered is what is stored."""
    async with writer(client, superuser, clinics[0]) as to:
        for way in WAYS:
            case = await to.write(way, "cases", diagnosis_codes=DIAGNOSES)
            assert isinstance(case, dict), (way, case)
            assert case["diagnosis_codes"] == ["M79.3", "M79", "S72.001A", "M79.3"], way
            assert (await to.stored("cases", case["id"]))["diagnosis_codes"] == case["diagnosis_codes"]
            for code_type, sent, expected in (("HCPCS", " j1885\t", "J1885"), ("CPT", "0001f\n", "0001F")):
                code = await to.write(way, "case_codes", code_type=code_type, code=sent)
                assert isinstance(code, dict), (way, code)
                assert (code["code_type"], code["code"]) == (code_type, expected), way
    found = await superuser.fetchval("SELECT count(*) FROM cases WHERE search @@ cases.query_1('S72.001A')")
    assert found == await superuser.fetchval("SELECT count(*) FROM cases WHERE 'S72.001A' = ANY (diagnosis_codes)") > 3


async def test_every_way_refuses_what_is_no_code(
    client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection
) -> None:
    """Nothing else is mended: 422 that names the item and not what it is, and the row is as it was."""
    prefix = {"list": "0.", "csv": "0."}
    async with writer(client, superuser, clinics[0]) as to:
        before = await superuser.fetch("SELECT * FROM cases ORDER BY id"), await superuser.fetch("TABLE case_codes")
        for way in WAYS:
            for bad in NO_DIAGNOSES:
                refused = await to.write(way, "cases", diagnosis_codes=["M79.3", bad, "A00"])
                assert isinstance(refused, Refused), (way, bad, refused)
                item = ".1" if way in OVER_HTTP else ""
                assert refused.fields == [f"{prefix.get(way, '')}diagnosis_codes{item}"], way
                assert "ICD-10-CM" in refused.text
                assert not bad or bad not in refused.text.replace("M79.3", "")
            for code_type, bad in (("CPT", "J1885"), ("HCPCS", "72148"), ("CPT", "7214B"), ("HCPCS", "secret-47")):
                refused = await to.write(way, "case_codes", code_type=code_type, code=bad)
                assert isinstance(refused, Refused), (way, bad, refused)
                assert refused.fields == [f"{prefix.get(way, '')}code"], way
                assert bad not in refused.text
        after = await superuser.fetch("SELECT * FROM cases ORDER BY id"), await superuser.fetch("TABLE case_codes")
        assert after == before


async def test_a_code_is_of_the_stored_type(client: httpx.AsyncClient, clinics: Clinics) -> None:
    """Changed alone, code and type are compared with the other one that is stored: 422 at the code."""
    north = clinics[0]
    path, headers = f"/api/case_codes/{north.rows['case_codes']}/", north.headers()
    body: dict[str, Any]
    for body in ({"code": "j1885"}, {"code_type": "HCPCS"}):
        assert fields(await client.patch(path, headers=headers, json=body)) == ["code"]
        assert fields(await client.patch(f"/api/case_codes/?id={path.split('/')[3]}", headers=headers, json=body)) == [
            "code"
        ]
    answer = await client.patch(path, headers=headers, json={"code_type": "HCPCS", "code": "j1885"})
    assert (answer.status_code, answer.json()["code"]) == (200, "J1885")
    many = [north.body("case_codes", code=code) for code in ("72148", "J1885", "0001t", "x")]
    refused = await client.post("/api/case_codes/", headers=headers, json=many)
    assert fields(refused) == ["1.code", "3.code"]


async def test_an_older_row_stays_usable(
    client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection, engine: FastlaneEngine
) -> None:
    """A row from before the rules can be changed elsewhere, deleted, restored as it was, and redacted."""
    north = clinics[0]
    path, headers = f"/api/cases/{north.rows['cases']}/", north.headers()
    await superuser.execute("ALTER TABLE cases DISABLE TRIGGER b_values")
    old = """UPDATE cases SET diagnosis_codes = '{"odd 4711","M79."}', confidence_json = '{"overall": 4711}'
              WHERE id = $1"""
    await superuser.execute(old, north.rows["cases"])
    await superuser.execute("ALTER TABLE cases ENABLE TRIGGER b_values")
    row = (await client.patch(path, headers=headers, json={"priority": "high"})).json()
    assert (row["diagnosis_codes"], row["confidence_json"]) == (["odd 4711", "M79."], {"overall": 4711})
    assert fields(await client.patch(path, headers=headers, json={"diagnosis_codes": row["diagnosis_codes"]})) == [
        *("diagnosis_codes.0", "diagnosis_codes.1")
    ]
    assert (await client.delete(path, headers=headers)).status_code == 204
    restored = await client.post(f"{path}restore/", headers=headers)
    assert (restored.status_code, restored.json()) == (200, row)
    await redact("north", ["4711"], "", really=True)
    stored = await superuser.fetchrow("SELECT diagnosis_codes, confidence_json FROM cases WHERE id = $1", row["id"])
    assert stored["diagnosis_codes"] == ["odd [redacted]", "M79."]
    assert json.loads(stored["confidence_json"]) == {"overall": "[redacted]"}


@pytest.mark.parametrize("codes", ["ARRAY[['M79.3']]", "'[5:6]={m793,a00}'::varchar[]"])
async def test_odd_arrays(superuser: asyncpg.Connection, clinics: Clinics, codes: str) -> None:
    """In SQL: a list of lists is refused, and one that does not begin at 1 keeps its items."""
    update = f"UPDATE cases SET diagnosis_codes = {codes} WHERE id = $1 RETURNING array_to_json(diagnosis_codes)::text"
    if "[[" in codes:
        with pytest.raises(asyncpg.PostgresError, match="one list of codes"):
            await superuser.fetchval(update, clinics[0].rows["cases"])
    else:
        assert await superuser.fetchval(update, clinics[0].rows["cases"]) == '["M79.3","A00"]'
