"""The admin's page of pictures: its numbers, for whom they are, and that nothing in it is more than text."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from xml.etree.ElementTree import Element

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tenancy.tables import Role
from tests.audit.looks import Log
from tests.clinics import Clinic
from tests.conftest import Running
from tests.html_pages import Strict, tables_of, text_of
from tests.operators import operator, visitor
from tests.year_of_cases import store, year_of_cases

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

Clinics = tuple[Clinic, Clinic]
ALL, OTHERS = "All payers", "All other payers"
STATUSES = {
    "pending": "Pending",
    "more_info_needed": "More information needed",
    "approved": "Approved",
    "denied": "Denied",
}


def expected_tables(told: Mapping[str, Any]) -> dict[str, list[list[Any]]]:
    """What the page's tables hold, of the endpoint's answer."""
    times, in_time, denials = told["time_to_decision"], told["decided_in_time"], told["denial_reasons"]
    days = [age["from_days"] for age in told["ageing"]]
    waiting = dict.fromkeys(row["payer"] for row in told["ageing_by_payer"])
    rows = {
        "Cases by status": [[STATUSES[row["status"]], row["cases"]] for row in told["by_status"]],
        "Decided in time": _shares([{"payer": ALL, **in_time["overall"]}, *in_time["by_payer"]]),
        "Cases by payer": [
            [row["payer"], *_spread(told["by_payer_and_status"], row["payer"], "status", STATUSES)]
            for row in told["by_payer"]
        ],
        "Age of the open cases": [
            [ALL, *(age["cases"] for age in told["ageing"]), told["open"]],
            *([payer, *_spread(told["ageing_by_payer"], payer, "from_days", days)] for payer in waiting),
        ],
        "Time to decision": _hours(
            [*({"payer": ALL, **row} for row in times["by_month"]), *times["by_payer_and_month"]]
        ),
        "Reasons of denials": [
            *([row["reason"], row["cases"]] for row in denials["reasons"]),
            ["Any other reason", denials["other"]],
            ["No reason given", denials["not_given"]],
        ],
    }
    return {caption: [[head or "(no name)", *rest] for head, *rest in of] for caption, of in rows.items()}


def _shares(rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    return [[row["payer"], row["share"], row["in_time"], row["cases"]] for row in rows]


def _hours(rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    months = [f"{datetime.fromisoformat(row['month'] + '-01'):%b %Y}" for row in rows]
    numbers = [[row["cases"], row["median_hours"], row["p90_hours"]] for row in rows]
    return [[row["payer"], month, *of] for row, month, of in zip(rows, months, numbers, strict=True)]


def _spread(rows: Iterable[Mapping[str, Any]], payer: str, key: str, places: Iterable[Any]) -> list[int]:
    found = {row[key]: row["cases"] for row in rows if row["payer"] == payer}
    return [*(found.get(place, 0) for place in places), sum(found.values())]


@pytest_asyncio.fixture
async def year(clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """Both clinics have cases of a year; the payers of each carry its name."""
    for clinic in clinics:
        rows = year_of_cases(Random(11), datetime.now(UTC), 1_500)
        marked = [{**row, "payer": row["payer"] and f"{row['payer']} {clinic.slug}"} for row in rows]
        await superuser.execute("DELETE FROM cases WHERE tenant_id = $1", clinic.id)
        await store(superuser, clinic, marked, clinic.users[Role.admin])


async def page(client: httpx.AsyncClient, **parameters: str) -> tuple[str, Element]:
    """The page as text, and as a tree."""
    answer = await client.get("/overview/", params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "private, no-store"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    return answer.text, Strict(answer.text).root


@pytest.mark.usefixtures("year")
async def test_numbers_are_those_of_the_endpoint(running: Running, clinics: Clinics) -> None:
    """For a clinic's operators the tables under the pictures hold what GET /api/metrics/ tells, of the same days and
    payer too, and nothing of another clinic."""
    north = clinics[0]
    since = f"{datetime.now(UTC) - timedelta(days=200):%Y-%m-%d}"
    for role, asked in ((Role.staff, {}), (Role.admin, {"from": since, "payer": "Aetna north"})):
        told = (await running.client.get("/api/metrics/", params=asked, headers=north.headers(role))).json()
        async with operator(running.url, role) as client:
            text, root = await page(client, until="", **asked)
        assert tables_of(root) == expected_tables(told)
        assert "Aetna north" in text
        assert "south" not in text.lower()
        assert [text_of(fact) for fact in root.iter("dd")][:3] == [
            f"{told[name]:,}" for name in ("total", "open", "overdue")
        ]


@pytest.mark.usefixtures("year")
async def test_nothing_in_it_is_more_than_text(running: Running) -> None:
    """What somebody stored as payer or reason is text; the page runs no script, loads nothing and leads back to the
    admin only; each picture has a name and a description, and stands in a figure with a caption and a table."""
    async with operator(running.url) as client:
        text, root = await page(client, payer='"><script>alert(2)</script>')
        assert not tables_of(root)
        assert text_of(root).count("There are none.") == 6
        text, root = await page(client)
    assert "<script>alert(1)</script> north" in text_of(root)
    assert "<script>alert('reason')</script>" in text_of(root)
    assert "<script" not in text
    assert {node.tag for node in root.iter()} & {
        "script",
        "img",
        "link",
        "iframe",
        "object",
        "image",
        "use",
        "b",
    } == set()
    attributes = [(name, value) for node in root.iter() for name, value in node.attrib.items()]
    assert [name for name, _ in attributes if name.startswith("on") or name in ("src", "action", "style")] == []
    assert [value for name, value in attributes if name == "href"] == ["/admin/"]
    assert set(re.findall(r"url\(([^)]*)\)|@import|//", text)) <= {"#dots", "#stripes"}
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for figure in root.iter("figure"):
        assert figure.find("figcaption/h2") is not None
        assert figure.find(".//table/caption") is not None
        pictures = [node for node in figure.iter("svg") if node.get("aria-hidden") != "true"]
        assert pictures
        for picture in pictures:
            assert picture.get("role") == "img"
            named = [node.get("id") for node in picture if node.tag in ("title", "desc") and text_of(node)]
            assert picture.attrib["aria-labelledby"].split() == named


async def test_who_may_see_it(running: Running, clinics: Clinics) -> None:
    """Without a session the page leads to the login; a tenant operator finds no other tenant, one that exists or
    not; what cannot be asked is a sentence on the page, and nothing but reading is possible."""
    async with visitor(running.url) as client:
        answer = await client.get("/overview/")
        assert (answer.status_code, answer.headers["location"]) == (303, "/admin/")
    async with operator(running.url) as client:
        for slug, status in (("north", 200), ("south", 404), ("nowhere", 404)):
            answer = await client.get("/overview/", params={"tenant": slug})
            assert answer.status_code == status
        assert "South" not in (await client.get("/overview")).text
        for query in ("from=soon", "from=2024-02-02&until=2024-02-01", "until=2024-02-02&until=2024-02-02", "x=1"):
            answer = await client.get(f"/overview/?{query}")
            assert answer.status_code == 400
            (alert,) = [node for node in Strict(answer.text).root.iter("p") if node.get("role") == "alert"]
            assert text_of(alert)
        assert (await client.head("/overview/")).status_code == 200
        answer = await client.post("/overview/", json={})
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
        links = (await client.get("/api/links/")).json()
        assert links == {"Overview": "/admin/overview/"}


@pytest.mark.usefixtures("year")
async def test_platform_operator_chooses(running: Running, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """A platform operator sees the cases of all tenants together until one is chosen; both looks are in the log, the
    second as one at that tenant's rows."""
    south = clinics[1]
    log = Log(superuser)
    await log.accesses()
    async with operator(running.url, None) as client:
        _, root = await page(client)
        payers = [row[0] for row in tables_of(root)["Cases by payer"]]
        assert {payer.rsplit(" ", 1)[1] for payer in payers[:4]} == {"north", "south"}
        assert payers[-1] == OTHERS
        assert sum(row[-1] for row in tables_of(root)["Cases by payer"]) == 3_000
        assert [node.get("value") for node in root.iter("option")] == ["", "north", "south"]
        text, root = await page(client, tenant="south")
        assert sum(row[-1] for row in tables_of(root)["Cases by payer"]) == 1_500
        assert "Aetna north" not in text
        assert [node.get("value") for node in root.iter("option") if node.get("selected")] == ["south"]
    rows = [(row["access"], row["path"], row["tenant_id"], row["actor"]) for row in await log.accesses()]
    assert rows == [("list", "/admin/overview/", tenant, "operator:platform") for tenant in (None, south.id)]


async def test_clinic_without_cases(running: Running, superuser: asyncpg.Connection) -> None:
    """Where there are no cases, the page says so in the place of each picture."""
    await superuser.execute("DELETE FROM cases")
    async with operator(running.url) as client:
        _, root = await page(client)
    assert text_of(root).count("There are none.") == 6
    assert [text_of(fact) for fact in root.iter("dd")] == ["0", "0", "0", "–", "–"]
