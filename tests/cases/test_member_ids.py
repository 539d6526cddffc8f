"""Member identifiers: hashed on every way in, found again, and refused where one would pass for a hash."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from cases.member_ids import normalise
from tenancy.settings import Settings
from tenancy.tables import Role
from tests.api.problems import assert_problem, fields
from tests.cases.member_ids import CASES, DIGEST, NORMALISED, PEPPER, RAW, case_of, find, keyed
from tests.clinics import Clinic
from tests.conftest import Running, serve
from tests.operators import operator

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

Clinics = tuple[Clinic, Clinic]
FORMER = "the pepper of the year before"


@pytest.fixture
def peppered(settings: Settings) -> Callable[..., Settings]:
    def configure(**changes: Any) -> Settings:
        return Settings.model_validate({**settings.model_dump(), "member_id_pepper": PEPPER, **changes})

    return configure


@pytest_asyncio.fixture
async def app(clinics: Clinics, peppered: Callable[..., Settings]) -> AsyncIterator[Running]:
    """The app over the two clinics, with the pepper of the tests."""
    async for running in serve(peppered()):
        running.client.headers.update(clinics[0].headers())
        yield running


# -- In and out --------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "ZQX77341WKV60",
        " zqx 77341\twkv 60 ",
        "Z-Q-X‐77341—wkv−60",
        "ｚｑｘ７７３４１wkv60",
        "zqx\u00ad77341\u200bWKV\u2060\u00a060",
    ],
)
def test_spellings_of_one_member(text: str) -> None:
    """Case, blanks, dashes of all kinds, wide letters and what is not seen tell no member from another."""
    assert normalise(text) == NORMALISED


def test_members_stay_apart() -> None:
    """Letters, digits and other marks are kept; at least one of them is a letter or a digit."""
    kept = {normalise(text) for text in ("a1", "a2", "b1", "a.1", "a/1", "a_1", "é1", "01", "1", "1a")}
    assert len(kept) == 10
    for text in ("", " ", "-", " – ", "...", "_", "a" * 101):
        with pytest.raises(ValueError, match=r"must (have|hold)"):
            normalise(text)
    assert normalise(f" {'a' * 100} ") == "A" * 100


async def test_every_way_in(app: Running, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """One row, a list, a CSV, a replacement, a change of one and of many store the hash; no answer has the id."""
    client, north = app.client, clinics[0]
    body = case_of(north)
    lines = "member_id,member_id_hash,payer,confidence_json,extracted_data\r\n"
    lines += f"{RAW},,Csv,{{}},{{}}\r\n,{DIGEST.upper()},Csv,{{}},{{}}\r\n"
    created = await client.post(CASES, json=body)
    path = f"{CASES}{created.json()['id']}/"
    sent = [
        created,
        await client.post(CASES, json=[body, body]),
        await client.post(CASES, content=lines, headers={"Content-Type": "text/csv"}),
        await client.patch(path, json={"member_id_hash": DIGEST.upper()}),
        await client.patch(path, json={"member_id": RAW}),
        await client.put(path, json={**body, "member_id": RAW.upper()}),
        await client.patch(f"{CASES}?payer=Cigna", json={"member_id": RAW}),
    ]
    assert [answer.status_code for answer in sent] == [201, 201, 201, 200, 200, 200, 200]
    rows = [answer.json().get("rows", [answer.json()]) for answer in sent]
    ours = keyed(north)
    assert [[row["member_id_hash"] for row in its] for its in rows] == [
        [ours], [ours, ours], [ours, DIGEST], [DIGEST], [ours], [ours], [ours],
    ]  # fmt: skip
    assert all("member_id" not in row for its in rows for row in its)
    assert await superuser.fetchval("SELECT count(*) FROM cases WHERE member_id_hash = $1", ours) == 5
    # Of a row, too, whose version must be known first.
    matched = await client.patch(path, json={"member_id": "another"}, headers={"If-Match": sent[5].headers["etag"]})
    assert matched.json()["member_id_hash"] == keyed(north, "ANOTHER")
    assert RAW not in (await client.get(f"{path}history/")).text


async def test_tenants_are_kept_apart(app: Running, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """One id has another hash in each tenant, and each finds its own cases only, newest first; staff may look."""
    north, south = clinics
    for number in range(3):
        for clinic in clinics:
            body = case_of(clinic, payer=f"{clinic.slug} {number}")
            assert (await app.client.post(CASES, json=body, headers=clinic.headers())).status_code == 201
    assert {keyed(north), keyed(south)} == set(
        await superuser.fetchval("SELECT array_agg(DISTINCT member_id_hash) FROM cases WHERE member_id_hash !~ 'hash_'")
    )
    for clinic in clinics:
        rows = await find(app.client, " zqx77341-wkv60", headers=clinic.headers(Role.staff))
        assert [row["payer"] for row in rows] == [f"{clinic.slug} {number}" for number in (2, 1, 0)]
        assert rows[0] == (await app.client.get(f"{CASES}{rows[0]['id']}/", headers=clinic.headers())).json()
    assert await find(app.client, "nobody") == []
    look = await superuser.fetchrow("SELECT * FROM access_logs WHERE path LIKE '%find%' ORDER BY created_at LIMIT 1")
    assert (look["path"], look["method"], look["row_count"], look["filter"]) == (f"{CASES}find/", "POST", 3, None)


async def test_a_thousand_are_found(app: Running, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """The newest thousand cases, and no more."""
    north = clinics[0]
    await superuser.execute(
        "INSERT INTO cases (tenant_id, created_by, member_id_hash, payer, status, diagnosis_codes, confidence_json, "
        "extracted_data, created_at) SELECT $1, $2, $3, n, 'pending', '{}', '{}', '{}', now() - n * interval '1 hour' "
        "FROM generate_series(1, 1001) AS n",
        *(north.id, north.users[Role.staff], keyed(north)),
    )
    assert {row["payer"] for row in await find(app.client)} == {str(number) for number in range(1, 1001)}


# -- What is refused ---------------------------------------------------------

NO_HASHES = [RAW, NORMALISED, "12345", "", DIGEST[:-1], f"{DIGEST}0", f"{DIGEST[:-1]}g", "hash_", "hash_a b", "Hash_a",
             f"hash_{'a' * 201}", f" {DIGEST}", f"{DIGEST}\n", "hash_é"]  # fmt: skip


async def test_refused(app: Running, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """What is no id, no hash, or both, is a 422 of its field on each way in, which does not repeat it."""
    client, north = app.client, clinics[0]
    path = f"{CASES}{north.rows['cases']}/"
    before = await superuser.fetch("SELECT * FROM cases ORDER BY id")
    bad: list[tuple[str, dict[str, Any]]] = [
        *(("member_id_hash", {"member_id_hash": text}) for text in (*NO_HASHES, 7, None)),
        *(("member_id", {"member_id": text}) for text in ("", " ", "-–-", "…", "q" * 101, 7, None, [RAW], {"id": RAW})),
        ("member_id", {"member_id": RAW, "member_id_hash": DIGEST}),
        ("member_id", {"member_id": RAW, "member_id_hash": "hash_a"}),
    ]
    for field, change in bad:
        whole = {**north.body("cases"), **change}
        if field == "member_id" and len(change) == 1:
            del whole["member_id_hash"]
        for method, url, body, at in (
            ("POST", CASES, whole, ""),
            ("POST", CASES, [whole], "0."),
            ("PUT", path, whole, ""),
            ("PATCH", path, change, ""),
            ("PATCH", f"{CASES}?payer=Cigna", change, ""),
            ("PATCH", f"{CASES}?payer=nobody", change, ""),
        ):
            answer = await client.request(method, url, json=body)
            assert fields(answer) == [f"{at}{field}"], (method, url, change)
            assert not {RAW, NORMALISED, "12345", DIGEST[:-1]} & {*answer.text.split('"')}, answer.text
            assert RAW not in answer.text
    for body in ({}, {"member_id": ""}, {"member_id": "-"}, {"member_id": 7}, {"member_id": RAW, "payer": "x"}):
        answer = await client.post(f"{CASES}find/", json=body)
        assert fields(answer) == ["payer" if "payer" in body else "member_id"]
        assert RAW not in answer.text
    neither = {name: value for name, value in north.body("cases").items() if name != "member_id_hash"}
    assert fields(await client.post(CASES, json=neither)) == ["member_id_hash"]
    # With all other faults, and after what the role may not.
    faults = {**case_of(north), "member_id": "-", "payer": 7, "nothing": 1}
    assert fields(await client.post(CASES, json=faults)) == ["member_id", "nothing", "payer"]
    staff = north.headers(Role.staff)
    assert_problem(await client.patch(path, json={"member_id": "-", "status": "denied"}, headers=staff), 403)
    assert await superuser.fetch("SELECT * FROM cases ORDER BY id") == before


async def test_the_database_refuses_too(
    clinics: Clinics, owner: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    """Whoever writes SQL, what is no hash is refused, and what is one is taken."""
    north = clinics[0]
    change = "UPDATE cases SET member_id_hash = $1 WHERE id = $2"
    await owner.execute("SELECT set_config('app.tenant_id', $1, false)", str(north.id))
    for text in (*NO_HASHES, DIGEST.replace("f", "F")):
        with pytest.raises(asyncpg.CheckViolationError, match="cases_member_id_hash_check"):
            await superuser.execute(change, text, north.rows["cases"])
    for text in (DIGEST, f"hash_{'a-_Z9' * 40}"):
        assert await superuser.execute(change, text, north.rows["cases"]) == "UPDATE 1"


async def test_the_admin_refuses_too(app: Running, clinics: Clinics) -> None:
    """An operator's raw id passes for no hash either, created, replaced or changed, and is not repeated."""
    north = clinics[0]
    path = f"/api/tables/cases/{north.rows['cases']}/"
    for role in (Role.admin, None):
        async with operator(app.url, role) as client:
            for text in (*NO_HASHES[:3], DIGEST.replace("f", "F")):
                whole = {**north.body("cases"), "tenant_id": str(north.id), "created_by": str(north.users[Role.admin])}
                whole |= {"confidence_json": "{}", "extracted_data": "{}", "priority": "low", "member_id_hash": text}
                for method, url, body in (
                    ("PATCH", path, {"member_id_hash": text}),
                    ("PUT", path, whole),
                    ("POST", "/api/tables/cases/", whole),
                ):
                    answer = await client.request(method, url, json=body)
                    assert answer.status_code == 422, (method, answer.text)
                    assert answer.json()["errors"][0]["field"] == "member_id_hash"
                    assert "64 hex digits" in answer.json()["db_error"] or "lower case" in answer.json()["db_error"]
                    assert text not in answer.text
            for text in ("hash_by_admin", DIGEST):
                assert (await client.patch(path, json={"member_id_hash": text})).status_code == 200


# -- Rotation and documents ---------------------------------------------------


async def test_rotation(clinics: Clinics, peppered: Callable[..., Settings]) -> None:
    """Both keys find meanwhile, the new one writes; a case that is sent its id again moves on; then one key is left."""
    north = clinics[0]
    steps: list[tuple[dict[str, str], list[str]]] = [
        ({"member_id_pepper": FORMER}, ["before"]),
        ({"member_id_pepper_previous": FORMER}, ["meanwhile", "before"]),
        ({}, ["after", "meanwhile"]),
        ({"member_id_pepper_previous": FORMER}, ["again", "after", "meanwhile", "before"]),
    ]
    ids: dict[str, str] = {}
    for changes, expected in steps:
        async for app in serve(peppered(**changes)):
            app.client.headers.update(north.headers())
            created = (await app.client.post(CASES, json=case_of(north, payer=expected[0]))).json()
            ids[created["payer"]] = created["id"]
            assert created["member_id_hash"] == keyed(north, pepper=changes.get("member_id_pepper", PEPPER))
            assert [row["payer"] for row in await find(app.client)] == expected
            if len(expected) == 4:
                assert (await app.client.patch(f"{CASES}{ids['before']}/", json={"member_id": RAW})).status_code == 200
    async for app in serve(peppered()):
        app.client.headers.update(north.headers())
        assert [row["payer"] for row in await find(app.client)] == ["again", "after", "meanwhile", "before"]


async def test_documented(client: httpx.AsyncClient, clinics: Clinics) -> None:
    """OpenAPI and the schema of a row have the field to write and not to read; a new case needs one of the two."""
    document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    stock = (await client.get(f"{CASES}schema/", headers=clinics[0].headers())).json()
    for schema in (schemas["CaseIn"], schemas["CasePatch"], stock):
        assert schema["properties"]["member_id"]["writeOnly"] is True
        assert schema["properties"]["member_id"]["maxLength"] == 100
        assert "member_id_hash" not in schema.get("required", [])
    for schema in (schemas["CaseIn"], stock):
        assert schema["oneOf"] == [{"required": ["member_id"]}, {"required": ["member_id_hash"]}]
    assert not [name for name in ("CaseOut", "CasePart") if "member_id" in schemas[name]["properties"]]
    assert "/api/cases/find/" in document["paths"]
    assert "member_id" not in (await client.get(f"{CASES}new/", headers=clinics[0].headers())).json()
