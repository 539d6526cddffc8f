"""Looks through Piccolo Admin are recorded as those through the API are."""

import pytest

from tenancy.tables import Role
from tests.audit.looks import Log
from tests.clinics import Clinic
from tests.conftest import Running
from tests.operators import operator

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

QUERY = "payer=Doe-Jane&status=pending&__page=1&payer__match=contains&__order=-created_at"


@pytest.mark.parametrize("role", [Role.admin, None])
async def test_a_row(running: Running, clinics: tuple[Clinic, Clinic], looks: Log, role: Role | None) -> None:
    """A case or an ingestion that is read is a view in the tenant of the row, whoever looks; a change that changes
    nothing is one too, for it shows the row. Of other tables a platform operator's looks are in the log, and those of
    everybody at an entry of the trail."""
    north, south = clinics
    clinic = north if role else south
    actor, user = (f"operator:north-{role.value}", north.users[role]) if role else ("operator:platform", None)
    one = f"/api/tables/cases/{clinic.rows['cases']}/"
    async with operator(running.url, role) as client:
        for path in (one, f"/api/tables/ingestions/{clinic.rows['ingestions']}/", f"{one}?__visible_fields=id"):
            answer = await client.get(path)
            assert answer.status_code == 200
            (view,) = await looks.views()
            assert str(view["entity_id"]) in path
            assert view["entity_type"] == ("case" if "cases" in path else "ingestion")
            assert (view["tenant_id"], view["user_id"], view["actor"]) == (clinic.id, user, actor)
            assert view["request_id"] == answer.headers["x-request-id"]
        for payer, views in (("Cigna", 1), ("Aetna", 0), ("Aetna", 1)):
            assert (await client.patch(one, json={"payer": payer})).status_code == 200
            assert len(await looks.views()) == views
        assert await looks.accesses() == []
        for table, is_noted in (("audit_logs", True), ("tasks", role is None), ("users", role is None)):
            path = f"/api/tables/{table}/{clinic.rows[table]}/"
            assert (await client.get(path)).status_code == 200
            rows = [(row["path"], row["row_count"], row["actor"]) for row in await looks.accesses()]
            assert rows == ([(f"/admin{path}", 1, actor)] if is_noted else [])


@pytest.mark.parametrize("role", [Role.admin, None])
async def test_lists(running: Running, clinics: tuple[Clinic, Clinic], looks: Log, role: Role | None) -> None:
    """Pages, pickers and counts are lists with their number of rows; a platform operator's are of no tenant."""
    north = clinics[0]
    actor, tenant = (f"operator:north-{role.value}", north.id) if role else ("operator:platform", None)
    cases = 1 if role else 2
    shown = [
        ("cases/", cases, None),
        (f"cases/?{QUERY}", 0, QUERY.replace("Doe-Jane", "*")),
        ("cases/ids/", cases, None),
        ("cases/count/", None, None),
        ("access_logs/?__page_size=1", 1, "__page_size=1"),
    ]
    async with operator(running.url, role) as client:
        for path, rows, filters in shown:
            assert (await client.get(f"/api/tables/{path}")).status_code == 200
            (row,) = await looks.accesses()
            assert (row["access"], row["row_count"], row["filter"], row["status"]) == ("list", rows, filters, 200)
            assert row["path"] == f"/admin/api/tables/{path.partition('?')[0]}"
            assert (row["tenant_id"], row["actor"]) == (tenant, actor)
        for path in (f"/api/tables/access_logs/{north.rows['access_logs']}/", "/api/tables/access_logs/"):
            answers = [await client.request(method, path, json={"status": 1}) for method in ("PATCH", "DELETE")]
            assert {answer.status_code for answer in answers} <= {403, 405}
    assert await looks.views() == []
