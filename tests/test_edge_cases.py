"""The edge cases of the seed's testing section, each on the real database."""

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from cases.tables import Case, CaseCode, Ruleset, Task
from tenancy.scoping import platform, rollback, tenant
from tenancy.tables import Role, Tenant, User
from tests.clinics import TABLES, Clinic
from tests.conftest import Running

MICROSECOND = datetime(2026, 3, 4, 5, 6, 7, 89_012, tzinfo=UTC)


async def rows_of(superuser: asyncpg.Connection, tenant_id: uuid.UUID) -> dict[str, int]:
    """How many rows each table has of a tenant."""
    columns = {table: "id" if table == "tenants" else "tenant_id" for table in TABLES}
    return {
        table: await superuser.fetchval(f"SELECT count(*) FROM {table} WHERE {column} = $1", tenant_id)
        for table, column in columns.items()
    }


async def a_case(**changes: Any) -> Case:
    """A case of the bound tenant."""
    values: dict[str, Any] = {
        "member_id_hash": "hash_edge",
        "payer": "Aetna",
        "confidence_json": "{}",
        "extracted_data": "{}",
    }
    case = Case(**(values | changes))
    await case.save()
    return case


# -- Large JSON --------------------------------------------------------------


async def test_large_json_over_http(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """Documents of together nearly 1 MiB go in and come out equal, in a list too."""
    north = clinics[0]
    text = 'Zoë 🏥 "quoted" \\ '
    extracted = {"pages": [{"number": n, "text": text * 200} for n in range(100)]}
    confidence = {"overall": 0.5, "fields": {f"field_{n}": n / 10_000 for n in range(10_000)}}
    body = north.body("cases", extracted_data=extracted, confidence_json=confidence)
    size = len(json.dumps(body, ensure_ascii=False).encode())
    assert 600_000 < size < 1024 * 1024
    content = json.dumps(body, ensure_ascii=False).encode()
    headers = north.headers() | {"Content-Type": "application/json"}
    answer = await client.post("/api/cases/", content=content, headers=headers)
    assert answer.status_code == 201
    read = (await client.get(answer.headers["location"], headers=north.headers())).json()
    assert read == answer.json()
    assert (read["extracted_data"], read["confidence_json"]) == (extracted, confidence)
    listed = (await client.get(f"/api/cases/?id={read['id']}", headers=north.headers())).json()["rows"]
    assert listed == [read]


@pytest.mark.usefixtures("clinics")
async def test_large_json_in_the_database(superuser: asyncpg.Connection) -> None:
    """A document of 8 MiB is stored and read back whole by the tables themselves."""
    document = {"text": "x" * 8 * 1024 * 1024}
    async with tenant("north", "admin@north.com"):
        case = await a_case(extracted_data=json.dumps(document))
        found = await Case.select(Case.extracted_data).where(Case.id == case.id).first().output(load_json=True)
    assert found == {"extracted_data": document}
    assert await superuser.fetchval("SELECT length(extracted_data->>'text') FROM cases WHERE id = $1", case.id) == len(
        document["text"]
    )


# -- Cascades ----------------------------------------------------------------


@pytest.mark.parametrize("who", ["platform", "owner"])
async def test_tenant_takes_everything_along(
    clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, owner: asyncpg.Connection, who: str
) -> None:
    """Deleting a tenant deletes its rows in all nine tables, its trail too, and nothing of another tenant."""
    north, south = clinics
    kept = await rows_of(superuser, south.id)
    assert all((await rows_of(superuser, north.id)).values())
    if who == "platform":
        async with platform():
            await Tenant.delete().where(Tenant.id == north.id)
    else:
        await become_blind_no_more(owner)
        assert await owner.execute("DELETE FROM tenants WHERE id = $1", north.id) == "DELETE 1"
    assert await rows_of(superuser, north.id) == dict.fromkeys(TABLES, 0)
    assert await rows_of(superuser, south.id) == kept


async def become_blind_no_more(owner: asyncpg.Connection) -> None:
    """FORCE blinds the owner too: to delete a tenant as the owner is to act as the platform."""
    assert await owner.execute("DELETE FROM tenants") == "DELETE 0"
    await owner.execute("CREATE POLICY test_owner ON tenants TO CURRENT_USER USING (true)")


async def test_case_takes_its_children_along(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """Deleting a case deletes its codes and tasks; deleting its ingestion only clears the reference."""
    north = clinics[0]
    ingestion = f"/api/ingestions/{north.rows['ingestions']}/"
    case = f"/api/cases/{north.rows['cases']}/"
    assert (await client.delete(ingestion, headers=north.headers())).status_code == 204
    assert (await client.get(case, headers=north.headers())).json()["ingestion_id"] is None
    assert (await client.delete(case, headers=north.headers())).status_code == 204
    left = await rows_of(superuser, north.id)
    assert (left["cases"], left["case_codes"], left["tasks"]) == (0, 0, 0)


async def test_assignee_who_goes_leaves_the_task(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """Deleting a user clears the tasks' assignee and keeps the tasks in their tenant."""
    north = clinics[0]
    task = f"/api/tasks/{north.rows['tasks']}/"
    assert (await client.get(task, headers=north.headers())).json()["assigned_to"] == str(north.rows["users"])
    assert (await client.delete(f"/api/users/{north.rows['users']}/", headers=north.headers())).status_code == 204
    row = (await client.get(task, headers=north.headers())).json()
    assert (row["assigned_to"], row["tenant_id"]) == (None, str(north.id))


# -- Unique (email, tenant) --------------------------------------------------


async def test_unique_email_and_tenant(clinics: tuple[Clinic, Clinic]) -> None:
    """An email is taken once in a tenant, whoever writes it, and free in another one."""
    async with platform():
        await User(tenant_id=clinics[0].id, email="same@example.com", role=Role.staff).save()
        await User(tenant_id=clinics[1].id, email="same@example.com", role=Role.staff).save()
    for scope in (tenant("north"), platform()):
        with pytest.raises(asyncpg.UniqueViolationError):
            async with scope:
                await User(tenant_id=clinics[0].id, email="same@example.com", role=Role.admin).save()


# -- Nulls -------------------------------------------------------------------

NULLABLE: dict[str, tuple[str, ...]] = {
    "users": ("name",),
    "ingestions": ("storage_path", "error_message"),
    "cases": ("ingestion_id", "metadata_json"),
    "case_codes": ("description", "confidence"),
    "tasks": ("assigned_to", "description", "due_date"),
}
REQUIRED: dict[str, tuple[str, ...]] = {
    "tenants": ("name",),
    "users": ("email", "role", "is_active"),
    "ingestions": ("source_type", "source_metadata", "status"),
    "cases": ("member_id_hash", "payer", "status", "priority", "diagnosis_codes", "confidence_json", "extracted_data"),
    "case_codes": ("case_id", "code_type", "code"),
    "tasks": ("case_id", "title", "status", "priority"),
    "rulesets": ("payer", "procedure", "rules_json", "is_active"),
}
VALUES: dict[str, Any] = {
    "metadata_json": {},
    "confidence": 0.5,
    "due_date": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize("table", NULLABLE)
async def test_nulls(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], table: str) -> None:
    """Nullable columns take null, return it as null, and take a value again; an empty text is not null."""
    north = clinics[0]
    references = {"ingestion_id": str(north.rows["ingestions"]), "assigned_to": str(north.rows["users"])}
    path = f"/api/{table}/{north.rows[table]}/"
    for name in NULLABLE[table]:
        for value in (VALUES | references).get(name, ""), None, (VALUES | references).get(name, "text"):
            answer = await client.patch(path, headers=north.headers(), json={name: value})
            assert answer.status_code == 200, answer.text
            assert answer.json()[name] == value
            assert (await client.get(path, headers=north.headers())).json()[name] == value


@pytest.mark.parametrize("table", REQUIRED)
async def test_not_null(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, table: str
) -> None:
    """The other columns refuse null, in the API with the field's name, and in the database."""
    north = clinics[0]
    path = f"/api/{table}/{north.rows[table]}/"
    for name in REQUIRED[table]:
        answer = await client.patch(path, headers=north.headers(), json={name: None})
        assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [name])
        with pytest.raises(asyncpg.NotNullViolationError):
            await superuser.execute(f"UPDATE {table} SET {name} = NULL WHERE id = $1", north.rows[table])


# -- Times -------------------------------------------------------------------


@pytest.mark.usefixtures("clinics")
async def test_microsecond_times(superuser: asyncpg.Connection) -> None:
    """A time keeps its microseconds, is the same instant in every zone, and one microsecond tells two apart."""
    east = MICROSECOND.astimezone(tz=datetime.strptime("+0530", "%z").tzinfo)
    async with tenant("north"):
        await Task.update({Task.due_date: east}, force=True)
        task = await Task.objects().first()
        assert task is not None
        assert task.due_date == MICROSECOND
        assert task.due_date.utcoffset() == timedelta(0)
        assert await Task.exists().where(Task.due_date == MICROSECOND)
        assert not await Task.exists().where(Task.due_date > MICROSECOND)
        assert await Task.exists().where(Task.due_date > MICROSECOND - timedelta(microseconds=1))
    await superuser.execute("SET timezone = 'America/New_York'")
    assert await superuser.fetchval("SELECT due_date::text FROM tasks WHERE due_date IS NOT NULL") == (
        "2026-03-04 00:06:07.089012-05"
    )


# -- Arrays ------------------------------------------------------------------


@pytest.mark.usefixtures("clinics")
async def test_array_operations() -> None:
    """Diagnosis codes are appended, found by element, kept in order with duplicates, and emptied."""
    codes = ["M79.3", "S72.001A", "M25", "M79.3"]
    async with tenant("north", "admin@north.com"):
        case = await a_case(diagnosis_codes=codes)
        assert await Case.exists().where((Case.id == case.id) & Case.diagnosis_codes.any("M25"))
        assert not await Case.exists().where((Case.id == case.id) & Case.diagnosis_codes.any("M79"))
        await Case.update({Case.diagnosis_codes: Case.diagnosis_codes.cat(["Z99"])}).where(Case.id == case.id)
        await case.refresh()
        assert case.diagnosis_codes == [*codes, "Z99"]
        await Case.update({Case.diagnosis_codes: []}).where(Case.id == case.id)
        await case.refresh()
        assert case.diagnosis_codes == []


@pytest.mark.parametrize("codes", [["x" * 21], [None], ["M79.3", None]])
@pytest.mark.usefixtures("clinics")
async def test_bad_arrays(codes: list[Any]) -> None:
    """A code over twenty characters, or none at all, is refused by the database as well."""
    with pytest.raises((asyncpg.StringDataRightTruncationError, asyncpg.CheckViolationError)):
        async with tenant("north", "admin@north.com"):
            await a_case(diagnosis_codes=codes)


# -- UUIDs -------------------------------------------------------------------


@pytest.mark.usefixtures("clinics")
async def test_uuids() -> None:
    """Five hundred keys are five hundred different random UUIDs, made in Python or in the database."""
    async with tenant("north"), rollback():
        rows = [Ruleset(payer=str(n), procedure="p", rules_json="{}") for n in range(90)]
        inserted = await Ruleset.insert(*rows).returning(Ruleset.id)
        query = """INSERT INTO rulesets (payer, procedure, rules_json)
                       SELECT n, 'p', jsonb_build_object() FROM generate_series(1, 410) n RETURNING id"""
        made = await Ruleset.raw(query)
    keys = {uuid.UUID(str(row["id"])) for row in [*inserted, *made]}
    assert len(keys) == 500
    assert {(key.version, key.variant) for key in keys} == {(4, uuid.RFC_4122)}


# -- Pooled connections ------------------------------------------------------


async def test_pooled_connections(running: Running, clinics: tuple[Clinic, Clinic]) -> None:
    """Two hundred requests of both clinics at once share a pool of four and each sees its own rows."""

    async def ask(clinic: Clinic) -> bool:
        rows = (await running.client.get("/api/cases/", headers=clinic.headers())).json()["rows"]
        return [row["id"] for row in rows] == [str(clinic.rows["cases"])]

    assert all(await asyncio.gather(*(ask(clinics[number % 2]) for number in range(200))))
    pool = running.engine.pool
    assert pool is not None
    assert pool.get_size() <= 4
    assert pool.get_idle_size() == pool.get_size()


async def test_children_of_another_tenant_s_case(clinics: tuple[Clinic, Clinic]) -> None:
    """A code that names its case only belongs to the case's tenant; across tenants it is refused for the platform."""
    async with platform():
        code = CaseCode(case_id=clinics[0].rows["cases"], code_type="CPT", code="97110")
        await code.save()
        await code.refresh()
        assert code.tenant_id == clinics[0].id
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with platform():
            await CaseCode(
                tenant_id=clinics[1].id, case_id=clinics[0].rows["cases"], code_type="CPT", code="97110"
            ).save()
