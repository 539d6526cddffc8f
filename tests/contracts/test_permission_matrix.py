"""The permission table, three times: as the contract has it, as the code has it, and as HTTP shows it.

The requests of this file change nothing, whoever sends them: what is allowed fails at its content, or finds no row.
That is why all of them share one database and one server.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

import piccolo_conf
from tenancy.databases import Databases
from tenancy.permissions import PERMISSIONS, Operation
from tenancy.tables import Role
from tests import cluster
from tests.clinics import TABLES
from tests.conftest import serve
from tests.contracts.matrix import REGISTERED, Pair, name_of, unchanged

pytestmark = pytest.mark.asyncio(loop_scope="module")

# What people were promised, letter by letter; not taken from the code.
EXPECTED = {
    #              staff   clinician  admin
    "tenants": ("R", "R", "RU"),
    "users": ("R", "R", "RCUD"),
    "ingestions": ("RCU", "RCU", "RCUD"),
    "cases": ("RCU", "RCU", "RCUD"),
    "case_codes": ("RCUD", "RCUD", "RCUD"),
    "tasks": ("RCU", "RCU", "RCUD"),
    "rulesets": ("R", "R", "RCUD"),
    "events": ("R", "R", "R"),
    "audit_logs": ("", "", "R"),
    "access_logs": ("", "", "R"),
}
ROLES = (Role.staff, Role.clinician, Role.admin)
CELLS = [(table, role, letters) for table, row in EXPECTED.items() for role, letters in zip(ROLES, row, strict=True)]
LETTERS = {"read": "R", "create": "C", "update": "U", "delete": "D"}


@dataclass(frozen=True, slots=True)
class Probe:
    """A request that asks for the rights of `letters` and changes nothing; `status` is its answer to who has them."""

    letters: str
    method: str
    path: str
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


NO_ROW = {"no_such_column": 1}
CSV = {"Content-Type": "text/csv"}
STALE = {"If-Match": '"stale"'}
PROBES = (
    *(Probe("R", method, "", 200) for method in ("GET", "HEAD")),
    *(Probe("R", method, "{row}/", 200) for method in ("GET", "HEAD")),
    *(Probe("R", "GET", f"{name}/", 200) for name in ("ids", "count", "new", "schema", "references")),
    Probe("R", "GET", "", 200, headers={"Accept": "text/csv"}),
    Probe("R", "GET", "?__cursor=&__total=true", 200),
    Probe("R", "GET", "{missing}/", 404),
    Probe("C", "POST", "", 422, NO_ROW),
    Probe("C", "POST", "", 422, [NO_ROW]),
    Probe("C", "POST", "", 422, []),
    Probe("C", "POST", "", 400, b"{"),
    Probe("C", "POST", "", 422, b"no_such_column\n1\n", CSV),
    Probe("U", "PUT", "{row}/", 422, NO_ROW),
    Probe("U", "PUT", "{row}/", 412, {}, STALE),
    Probe("U", "PATCH", "{row}/", 422, NO_ROW),
    Probe("U", "PATCH", "{row}/", 200, {}),
    Probe("U", "PATCH", "{missing}/", 404, {}),
    Probe("U", "PATCH", "?id={row}", 422, NO_ROW),
    Probe("U", "PATCH", "?id={row}", 200, {}),
    Probe("U", "PATCH", "", 400, {}),
    Probe("D", "DELETE", "{row}/", 412, headers=STALE),
    Probe("D", "DELETE", "{missing}/", 404),
    Probe("D", "DELETE", "?id={missing}", 204),
    Probe("D", "DELETE", "", 400),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """Two clinics behind one app."""
    database = await cluster.create_database(cluster.WITH_CLINICS)
    settings = database.settings(tmp_path_factory.mktemp("permissions"))
    piccolo_conf.DB.databases = Databases(settings)
    superuser = await asyncpg.connect(database.superuser)
    async for running in serve(settings):
        yield Pair(running.client, superuser, *cluster.clinics(settings))
    await superuser.close()
    await cluster.drop_database(database)


async def status_of(pair: Pair, table: str, role: Role, probe: Probe) -> int:
    """How a user of that role is answered."""
    path = probe.path.format(row=pair.own.rows[table], missing=uuid4())
    headers = pair.own.headers(role) | probe.headers
    sent: dict[str, Any] = {"content": probe.body} if isinstance(probe.body, bytes) else {"json": probe.body}
    if probe.body is None:
        sent = {}
    answer = await pair.client.request(probe.method, f"/api/{table}/{path}", headers=headers, **sent)
    return answer.status_code


@pytest.mark.parametrize(("table", "role", "letters"), CELLS, ids=name_of)
async def test_http_shows_the_table(pair: Pair, table: str, role: Role, letters: str) -> None:
    """Each verb on each path is a 403 for exactly those roles to whom the table gives no letter for it."""
    observed, promised = {}, {}
    async with unchanged(pair, pair.own, pair.other):
        for probe in PROBES:
            key = (probe.method, probe.path, str(probe.body), str(probe.headers))
            observed[key] = await status_of(pair, table, role, probe)
            promised[key] = probe.status if probe.letters in letters else 403
    assert observed == promised
    # And as a set of letters: what is not refused is allowed.
    allowed = {probe.letters for probe, status in zip(PROBES, observed.values(), strict=True) if status != 403}
    assert allowed == set(letters)


@pytest.mark.parametrize("letters", ["R", "RC", "RU", "RCU"])
async def test_a_merge_needs_two_letters(pair: Pair, monkeypatch: pytest.MonkeyPatch, letters: str) -> None:
    """A merge is a creation and an update: whoever has only one of the two rights, as no role has today, is refused."""
    words = {letter: Operation(word) for word, letter in LETTERS.items()}
    monkeypatch.setitem(PERMISSIONS, ("users", Role.admin), frozenset(words[letter] for letter in letters))
    for body in (NO_ROW, [NO_ROW]):
        merge = Probe("CU", "POST", "", 422, body, {"Prefer": "resolution=merge-duplicates"})
        assert await status_of(pair, "users", Role.admin, merge) == (422 if letters == "RCU" else 403)


@pytest.mark.parametrize("role", ROLES, ids=name_of)
async def test_me_tells_the_table(pair: Pair, role: Role) -> None:
    """GET /api/me/ tells each user the role and its column of the table, with and without the last slash."""
    for path in ("/api/me/", "/api/me"):
        body = (await pair.client.get(path, headers=pair.own.headers(role))).json()
        assert body["role"] == role.value
        told = {table: "".join(LETTERS[word] for word in words) for table, words in body["permissions"].items()}
        assert told == {table: letters for table, cell_role, letters in CELLS if cell_role is role}


async def test_code_and_contract_agree() -> None:
    """The code's permission table is the promised one, of every table and every role, and of no other."""
    written = {key: "".join(LETTERS[o.value] for o in Operation if o in found) for key, found in PERMISSIONS.items()}
    assert written == {(table, role): letters for table, role, letters in CELLS}
    assert set(EXPECTED) == set(REGISTERED) == set(TABLES)
    assert set(ROLES) == set(Role)


@pytest.mark.parametrize(
    "query",
    [
        "tenants/?__include=audit_logs",
        "tenants/?__visible_fields=id,audit_logs.id",
        "users/{users}/?__include=audit_logs",
        "cases/?__include=tenant.audit_logs",
        "cases/{cases}/?__include=creator.audit_logs",
        "tasks/?__visible_fields=id,case.creator.audit_logs.changes",
    ],
)
async def test_related_rows_need_their_own_letter(pair: Pair, query: str) -> None:
    """Along a relation a role reads no table that it may not read by itself, however far away it is."""
    path = "/api/" + query.format(**{table: str(row) for table, row in pair.own.rows.items()})
    for role in ROLES:
        allowed = "R" in EXPECTED["audit_logs"][ROLES.index(role)]
        answer = await pair.client.get(path, headers=pair.own.headers(role))
        assert answer.status_code == (200 if allowed else 403), answer.text
