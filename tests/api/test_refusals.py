"""Refusals that a careful client relies on: their order, their headers, and what is not stored."""

from typing import Any

import httpx
import pytest

from tenancy.settings import Settings
from tenancy.tables import Role
from tests.clinics import Clinic
from tests.conftest import serve

Clinics = tuple[Clinic, Clinic]
MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("name", ["payer", "diagnosis_codes", "status"])
async def test_too_many_values(client: httpx.AsyncClient, clinics: Clinics, name: str) -> None:
    """A filter with a thousand values is a 400, not a query as deep."""
    value = "pending" if name == "status" else "a"
    query = "&".join([f"{name}={value}"] * 1000)
    answer = await client.get(f"/api/cases/?{query}", headers=clinics[0].headers())
    assert answer.status_code == 400
    assert name in answer.json()["detail"]


@pytest.mark.parametrize("body", [[], 1, "x", {"payer": "\x00"}, {"unknown": 1}])
async def test_missing_comes_before_content(client: httpx.AsyncClient, clinics: Clinics, body: Any) -> None:
    """A row that is not there is a 404, whatever was sent for it."""
    answer = await client.patch(f"/api/cases/{MISSING}/", json=body, headers=clinics[0].headers())
    assert answer.status_code == 404


@pytest.mark.parametrize("body", [{"status": "approved"}, {"status": "denied", "unknown": 1}])
async def test_permission_comes_first(client: httpx.AsyncClient, clinics: Clinics, body: dict[str, Any]) -> None:
    """Staff that decides is a 403, on a row, on none, and however wrong the rest of the body."""
    north = clinics[0]
    headers = north.headers(Role.staff)
    for path in (f"/api/cases/{north.rows['cases']}/", f"/api/cases/{MISSING}/"):
        assert (await client.patch(path, json=body, headers=headers)).status_code == 403
    assert (await client.post("/api/cases/", json=body, headers=headers)).status_code == 403


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z"])
async def test_infinite_times(client: httpx.AsyncClient, clinics: Clinics, moment: str) -> None:
    """The two times that the driver takes for infinity are refused, and their neighbours kept."""
    north = clinics[0]
    path = f"/api/tasks/{north.rows['tasks']}/"
    assert (await client.patch(path, json={"due_date": moment}, headers=north.headers())).status_code == 422
    assert (await client.get(f"/api/tasks/?due_date={moment}", headers=north.headers())).status_code == 400
    near = moment.replace(".999999", ".999998").replace("00:00:00Z", "00:00:01Z")
    answer = await client.patch(path, json={"due_date": near}, headers=north.headers())
    assert answer.json()["due_date"] == near


async def test_integers_are_kept_or_refused(client: httpx.AsyncClient, clinics: Clinics) -> None:
    """An integer in a document comes back as it was, or is refused; it is never rounded."""
    north = clinics[0]
    path = f"/api/cases/{north.rows['cases']}/"
    kept = {"n": 2**63 - 1, "u": 2**64 - 1, "f": 1.5e-7, "text": "12345678901234567890123"}
    answer = await client.patch(path, json={"metadata_json": kept}, headers=north.headers())
    assert answer.json()["metadata_json"] == kept
    answer = await client.patch(path, json={"metadata_json": {"n": 10**22 + 1}}, headers=north.headers())
    assert answer.status_code == 422
    assert "64 bits" in answer.json()["detail"]


async def test_a_document_written_by_sql_hinders_no_update(
    client: httpx.AsyncClient, clinics: Clinics, superuser: Any
) -> None:
    """A document that only SQL can write is handed on, and its row can be changed."""
    north = clinics[0]
    await superuser.execute("""UPDATE cases SET metadata_json = '{"n": 1e400}' WHERE id = $1""", north.rows["cases"])
    path = f"/api/cases/{north.rows['cases']}/"
    assert (await client.get(path, headers=north.headers())).status_code == 200
    assert (await client.patch(path, json={"priority": "low"}, headers=north.headers())).status_code == 200


async def test_405_names_what_is_allowed(client: httpx.AsyncClient, clinics: Clinics) -> None:
    """A 405 has an Allow header (RFC 9110, section 15.5.6)."""
    for method, path in (
        ("POST", "/healthz"),
        ("POST", "/api/me/"),
        ("PUT", "/api/cases/"),
        ("POST", "/api/cases/ids/"),
    ):
        answer = await client.request(method, path, headers=clinics[0].headers())
        assert answer.status_code == 405, path
        assert "GET" in answer.headers["allow"], path


async def test_empty_ranges(client: httpx.AsyncClient, clinics: Clinics) -> None:
    """A page without rows has no first and last row to name."""
    answer = await client.get("/api/cases/?__range_header=true&__page=99", headers=clinics[0].headers())
    assert answer.headers["content-range"] == "cases */1"


async def test_ids_take_each_parameter_once(client: httpx.AsyncClient, clinics: Clinics) -> None:
    """A parameter given twice is refused, not half ignored."""
    answer = await client.get("/api/cases/ids/?search=a&search=b", headers=clinics[0].headers())
    assert answer.status_code == 400


async def test_a_browser_may_read_a_refusal(settings: Settings, clinics: Clinics) -> None:
    """The answers before and beside the API's own have the CORS headers too."""
    origin = "https://app.example.com"
    allowed = Settings.model_validate({**settings.model_dump(), "cors_origins": (origin,)})
    async for app in serve(allowed):
        for headers in ({}, {"Authorization": "Bearer x"}, clinics[0].headers()):
            answer = await app.client.get("/api/cases/", headers={**headers, "Origin": origin})
            assert answer.headers["access-control-allow-origin"] == origin
            assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
