"""The guard over HTTP: every way to write a row refuses alike, and nothing else is refused."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from pydantic import create_model

import main
from api.problems import Problem
from cases.tables import Task
from tenancy.actions import Action, Call, Told
from tenancy.permissions import Operation
from tenancy.settings import Settings
from tenancy.tables import Role
from tests.api.problems import assert_problem, fields
from tests.clinics import Clinic
from tests.conftest import Running, serve
from tests.operators import fill_form, operator

# The stock login recommends HTTPS at each login; tests speak plain HTTP.
pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

Clinics = tuple[Clinic, Clinic]
SSN = "123-45-6789"
NOTE = {"notes": [{"text": f"SSN {SSN}"}]}
ANSI = re.compile(r"\x1b\[\d+m")
WAY = "extracted_data.notes.0.text"
CSV = {"Content-Type": "text/csv"}
MERGE = {"Prefer": "resolution=merge-duplicates"}


async def test_every_way_to_write(client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """POST of one, of many and of CSV, a merge, PUT, PATCH of one and of many: 422, the way there, the kind and not
    the value; nothing is stored."""
    north = clinics[0]
    headers = north.headers()
    path = f"/api/cases/{north.rows['cases']}/"
    good, bad = north.body("cases"), north.body("cases", extracted_data=NOTE)
    document = json.dumps(NOTE).replace('"', '""')
    user = north.body("users", name=f"Jane Roe, SSN {SSN}")
    row = f'payer,member_id_hash,confidence_json,extracted_data\nx,hash_x,{{}},"{document}"\n'
    answers = {
        WAY: [
            await client.post("/api/cases/", json=bad, headers=headers),
            await client.put(path, json=bad, headers=headers),
            await client.patch(path, json={"extracted_data": NOTE}, headers=headers),
            await client.patch(path, json={"extracted_data": NOTE}, headers={**headers, "If-Match": "*"}),
            await client.patch("/api/cases/?payer=Cigna", json={"extracted_data": NOTE}, headers=headers),
            await client.patch("/api/cases/?payer=nobody", json={"extracted_data": NOTE}, headers=headers),
        ],
        f"1.{WAY}": [await client.post("/api/cases/", json=[good, bad], headers=headers)],
        f"0.{WAY}": [await client.post("/api/cases/", content=row, headers=headers | CSV)],
        "name": [await client.post("/api/users/", json=user, headers=headers | MERGE)],
    }
    for way, sent in answers.items():
        for answer in sent:
            assert fields(answer) == [way]
            assert SSN not in answer.text
            if way != "name":
                [error] = answer.json()["errors"]
                assert error["message"] == "looks like a Social Security number and must not be stored"
    missing = path.replace(str(north.rows["cases"]), str(clinics[1].rows["cases"]))
    assert_problem(await client.patch(missing, json={"extracted_data": NOTE}, headers=headers), 404)
    staff = north.headers(Role.staff)
    assert_problem(await client.post("/api/rulesets/", json={"payer": SSN}, headers=staff), 403)
    assert not await superuser.fetchval("SELECT count(*) FROM cases WHERE extracted_data::text LIKE '%SSN%'")


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("ingestions", "storage_path"),
        ("ingestions", "error_message"),
        ("cases", "payer"),
        ("cases", "denial_reason"),
        ("cases", "extension_reason"),
        ("case_codes", "description"),
        ("tasks", "title"),
        ("tasks", "description"),
        ("rulesets", "payer"),
        ("rulesets", "procedure"),
        ("tenants", "name"),
        ("users", "name"),
    ],
)
async def test_every_text(client: httpx.AsyncClient, clinics: Clinics, table: str, column: str) -> None:
    """Each text that a client may write is looked at, and a clean one is taken."""
    north = clinics[0]
    path = f"/api/{table}/{north.rows[table]}/"
    answer = await client.patch(path, json={column: f"Seen {SSN}"}, headers=north.headers())
    assert fields(answer) == [column]
    # What says why goes with what was done.
    done = {
        "denial_reason": {"status": "denied"},
        "extension_reason": {"extended_until": (datetime.now(UTC) + timedelta(days=9)).isoformat()},
    }.get(column, {})
    answer = await client.patch(path, json={column: "Dose of 5 mg/kg", **done}, headers=north.headers())
    assert answer.status_code == 200, answer.text


async def test_off_for_a_tenant(
    client: httpx.AsyncClient, clinics: Clinics, settings: Settings, capsys: pytest.CaptureFixture[str],
    superuser: asyncpg.Connection,
) -> None:  # fmt: skip
    """A tenant that has it off stores what it is sent, and goes back to it later; the others do not; a tenant that
    blocks does so although the setting is off. What is off is said at the start."""
    north, south = clinics
    await superuser.execute("UPDATE tenants SET phi_guard = 'off' WHERE slug = 'north'")
    body = {"extracted_data": NOTE}
    capsys.readouterr()
    async for app in serve(settings):
        said = ANSI.sub("", capsys.readouterr().err)
        assert "PHI guard off" in said
        assert "tenant=north" in said
        assert "PHI_GUARD" not in said
        path = f"/api/cases/{north.rows['cases']}/"
        assert (await app.client.patch(path, json=body, headers=north.headers())).status_code == 200
        assert fields(
            await app.client.patch(f"/api/cases/{south.rows['cases']}/", json=body, headers=south.headers())
        ) == [WAY]
        await app.client.patch(path, json={"extracted_data": {}}, headers=north.headers())
    await superuser.execute("UPDATE tenants SET phi_guard = CASE slug WHEN 'north' THEN 'block' END")
    async for app in serve(Settings.model_validate({**settings.model_dump(), "phi_guard": "off"})):
        said = ANSI.sub("", capsys.readouterr().err)
        assert "PHI_GUARD=off" in said
        assert "tenant=" not in said
        other = f"/api/cases/{south.rows['cases']}/"
        assert (await app.client.patch(other, json=body, headers=south.headers())).status_code == 200
        assert fields(await app.client.patch(path, json=body, headers=north.headers())) == [WAY]
        back = await app.client.post(f"{path}restore/", json={"version": 2}, headers=north.headers())
        assert back.json()["extracted_data"] == NOTE  # It was stored: the trail has it, and no client writes it now.


async def test_actions(settings: Settings, clinics: Clinics, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an action is sent is looked at before it runs."""
    told: list[str] = []

    async def run(call: Call) -> Told:
        told.append(call.data["text"])
        return Told({})

    needs = (("tasks", Operation.update),)
    action = Action("remark", "Remarks", run, needs, Told, "table", input=create_model("Remark", text=(str, ...)))
    monkeypatch.setattr(main, "ACTIONS", {Task: (action,)})
    headers = clinics[0].headers()
    async for app in serve(settings):
        answer = await app.client.post("/api/tasks/remark/", json={"text": f"SSN {SSN}"}, headers=headers)
        assert fields(answer) == ["text"]
        assert SSN not in answer.text
        answer = await app.client.post("/api/tasks/remark/", json={"text": "5 mg/kg"}, headers=headers)
        assert answer.status_code == 200, answer.text
    assert told == ["5 mg/kg"]


@pytest.mark.parametrize("role", [Role.admin, None])
async def test_the_admin(running: Running, clinics: Clinics, superuser: asyncpg.Connection, role: Role | None) -> None:
    """A form with an identifier in a text or inside a document is a 422 that the page can show; a clean one is
    stored."""
    north = clinics[0]
    path = f"/api/tables/cases/{north.rows['cases']}/"
    async with operator(running.url, role) as client:
        form = await fill_form(client, "cases", north.body("cases"))
        form |= {"tenant_id": str(north.id), "created_by": str(north.users[Role.admin])}
        for change in ({"payer": f"SSN {SSN}"}, {"extracted_data": json.dumps({"mrn": "x"})}, {"extracted_data": NOTE}):
            for answer in (
                await client.post("/api/tables/cases/", json=form | change),
                await client.patch(path, json=change),
                await client.put(path, json=form | change),
            ):
                assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
                assert answer.json()["db_error"] == answer.json()["detail"]
                assert SSN not in answer.text
        assert (await client.post("/api/tables/cases/", json=form)).status_code == 201
        nested = b'{"extracted_data": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}"
        answer = await client.patch(path, content=nested, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        strange = await client.get(f"/api/tables/cases/?__page={SSN}")
        assert 400 <= strange.status_code < 500
        assert SSN not in strange.text
    await superuser.execute("UPDATE tenants SET phi_guard = 'off' WHERE slug = 'north'")
    if role is not None:
        async with operator(running.url, Role.clinician) as client:
            assert (await client.patch(path, json={"payer": f"SSN {SSN}"})).status_code == 200


async def test_what_is_stored_beside_the_body(
    client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection
) -> None:
    """A user agent that identifies somebody is withheld from the trail, any other stands there; an Idempotency-Key
    that does is refused; names and paths that do are a star in the error that would repeat them."""
    north = clinics[0]
    headers = north.headers()
    for agent, stored in ((f"curl/8 {SSN}", "withheld"), ("curl/8.5.0 (x86_64)", "curl/8.5.0 (x86_64)")):
        answer = await client.post("/api/tasks/", json=north.body("tasks"), headers={**headers, "User-Agent": agent})
        found = await superuser.fetchval(
            "SELECT user_agent FROM audit_logs WHERE request_id = $1", answer.headers["x-request-id"]
        )
        assert found == stored
    answer = await client.post(
        "/api/tasks/", json=north.body("tasks"), headers={**headers, "Idempotency-Key": '"Patient: Jane Roe"'}
    )
    assert_problem(answer, 422)
    assert "Jane" not in answer.text
    body: dict[str, Any] = {"jane.roe@example.com": 1, "Jane Roe": 2, "MBR123456789": 3, "no_such_field": 4}
    answer = await client.post("/api/tasks/", json=north.body("tasks", **body), headers=headers)
    assert fields(answer) == ["*", "no_such_field"]
    for path in (f"/api/cases/{SSN}/", "/api/cases/Jane%20Roe/", "/api/tasks/MBR123456789/", f"/nothing/{SSN}"):
        answer = await client.get(path, headers=headers)
        assert answer.status_code == 404
        assert answer.json()["instance"].endswith(("/*/", "/*"))
    assert SSN.encode() not in bytes(Problem(400, f"What quotes {SSN}.").response("/", "1").body)
    for query in (f"__order={SSN}", f"payer__{SSN}=1", f"__page={SSN}", f"__{SSN}=1", f"status={SSN}"):
        answer = await client.get(f"/api/cases/?{query}", headers=headers)
        assert answer.status_code == 400
        assert SSN not in answer.text
