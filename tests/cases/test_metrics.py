"""What the cases amount to: the same as counted in plain Python, for the caller's clinic alone."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from api.encoding import dump_json
from cases.metrics import read_metrics
from tenancy.scoping import platform, tenant
from tenancy.tables import Role
from tests.clients import http_client
from tests.clinics import Clinic
from tests.conftest import Running
from tests.year_of_cases import COLUMNS, PAYERS, Question, counted, rounded, store, year_of_cases

ZONES = {"north": "America/Chicago", "south": "Pacific/Auckland"}
NUMBERS = {"north": 20_000, "south": 2_000}

Clinics = tuple[Clinic, Clinic]


@pytest_asyncio.fixture
async def year(clinics: Clinics, superuser: asyncpg.Connection) -> dict[str, list[Any]]:
    """Each clinic's cases of the last year, and a time zone of its own."""
    random, now = Random(7), datetime.now(UTC)
    for clinic in clinics:
        await superuser.execute("DELETE FROM cases WHERE tenant_id = $1", clinic.id)
        await superuser.execute("UPDATE tenants SET time_zone = $2 WHERE id = $1", clinic.id, ZONES[clinic.slug])
        rows = year_of_cases(random, now, NUMBERS[clinic.slug])
        await store(superuser, clinic, rows, clinic.users[Role.admin])
    select = f"SELECT {', '.join(COLUMNS)} FROM cases WHERE tenant_id = $1"
    return {clinic.slug: await superuser.fetch(select, clinic.id) for clinic in clinics}


@pytest_asyncio.fixture
async def signed_in(running: Running, clinics: Clinics) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client of each clinic's staff."""
    north, south = clinics
    async with (
        http_client(running.url, north.headers(Role.staff)) as of_north,
        http_client(running.url, south.headers(Role.staff)) as of_south,
    ):
        yield {"north": of_north, "south": of_south}


async def ask(client: httpx.AsyncClient, **parameters: str) -> dict[str, Any]:
    answer = await client.get("/api/metrics/", params=parameters)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def expected(rows: list[Any], slug: str, told: dict[str, Any], **asked: Any) -> Any:
    """What plain Python makes of the rows, at the moment of the answer."""
    now = datetime.fromisoformat(told["generated_at"])
    answer = counted(rows, Question(ZONES[slug], now, **asked))
    return rounded({**answer, "generated_at": told["generated_at"]})


async def test_numbers_are_those_of_plain_python(
    year: dict[str, list[Any]], signed_in: dict[str, httpx.AsyncClient]
) -> None:
    """Of 20,000 cases of a year, and beside them another clinic's in another time zone, each clinic is told what a
    count in Python finds in its own rows: of all, of some days, and of one payer."""
    today = datetime.now(UTC).date()
    days = {"first": today - timedelta(days=200), "until": today - timedelta(days=31)}
    for slug, rows in year.items():
        client = signed_in[slug]
        told = await ask(client)
        assert rounded(told) == expected(rows, slug, told)
        assert told["total"] == NUMBERS[slug]
        first, until = (day.isoformat() for day in days.values())
        told = await ask(client, **{"from": first, "until": until})
        assert rounded(told) == expected(rows, slug, told, **days)
        assert 0 < told["total"] < NUMBERS[slug]
        told = await ask(client, payer=PAYERS[1], until=until)
        assert rounded(told) == expected(rows, slug, told, payer=PAYERS[1], until=days["until"])
        assert [payer["payer"] for payer in told["by_payer"]] == [PAYERS[1]]


async def test_payers_beyond_those_with_the_most_cases(clinics: Clinics, year: dict[str, list[Any]]) -> None:
    """Payers that get no name of their own are counted together, their median among them; and the platform counts
    the cases of all clinics, each in its own time zone."""
    north, south = clinics
    async with tenant("north"):
        told = await read_metrics([north.id, south.id], {}, 3)
    answer = counted(year["north"], Question(ZONES["north"], told["generated_at"], named=3))
    assert rounded(told) == rounded(answer)
    assert [payer["payer"] for payer in told["by_payer"]] == [*PAYERS[:3], None]
    async with platform():
        (of_both, of_south) = [await read_metrics(ids, {}) for ids in ([north.id, south.id], [south.id])]
    assert rounded(of_south) == rounded(counted(year["south"], Question(ZONES["south"], of_south["generated_at"])))
    assert of_both["time_zone"] is None
    assert of_both["total"] == sum(NUMBERS.values())
    months = [
        {row["month"]: row["cases"] for row in told["time_to_decision"]["by_month"]}
        for told in (of_both, of_south, await _of(north))
    ]
    assert months[0] == {month: months[1].get(month, 0) + months[2].get(month, 0) for month in months[0]}


async def _of(clinic: Clinic) -> dict[str, Any]:
    async with tenant(clinic.slug):
        return await read_metrics([clinic.id], {})


async def test_clinic_without_cases(
    clinics: Clinics, superuser: asyncpg.Connection, signed_in: dict[str, httpx.AsyncClient]
) -> None:
    """Where there are no cases, there are zeros and empty lists; another clinic's case counts nowhere. The look is
    in the log, its payer is not."""
    await superuser.execute("DELETE FROM cases WHERE tenant_id = $1", clinics[0].id)
    told = await ask(signed_in["north"], payer="Cigna")
    assert told == {**expected([], "north", told), "time_zone": "UTC"}
    query = "SELECT path, filter, row_count FROM access_logs WHERE access = 'list' AND path LIKE '%metrics%'"
    assert [tuple(row) for row in await superuser.fetch(query)] == [("/api/metrics/", "*=*", None)]
    assert (await ask(signed_in["south"], payer="Cigna"))["total"] == 1


async def test_odd_parameters(signed_in: dict[str, httpx.AsyncClient]) -> None:
    """A parameter that is no date, no payer or unknown is a 400 that names it; the oldest and the last day are fine."""
    odd = {
        "from=5": "from",
        "from=2024-02-30": "from",
        "until=2024-01-01T10:00:00Z": "until",
        "from=2024-02-02&until=2024-02-01": "until lies before",
        "from=2024-02-02&from=2024-02-02": "once",
        "payer=": "payer",
        "payer=a%00b": "payer",
        f"payer={'a' * 256}": "payer",
        "first=2024-02-02": "first",
        "tenant=south": "tenant",
    }
    for query, named in odd.items():
        answer = await signed_in["north"].get(f"/api/metrics/?{query}")
        assert answer.status_code == 400, query
        assert named in answer.json()["detail"]
    assert (await ask(signed_in["north"], **{"from": "0001-01-01", "until": "9999-12-31"}))["total"] == 1


def test_python_counts_as_people_do() -> None:
    """The count that the answers are compared with, of rows that can be counted by hand."""
    midnight = datetime(2024, 3, 1, tzinfo=UTC)
    row = {"payer": "A", "status": "denied", "created_at": midnight, "paused_at": None}
    decided = [
        {
            **row,
            "submitted_at": midnight - timedelta(hours=hours),
            "decided_at": midnight,
            "decision_due_at": midnight + timedelta(hours=hours - 3),
            "denial_reason": reason,
        }
        for hours, reason in ((1, "no"), (2, " No "), (3, "no"), (10, None))
    ]
    asked = Question("America/Chicago", midnight, until=date(2024, 2, 29))
    told = counted(decided, asked)
    overall = {"cases": 4, "median_hours": 2.5, "p90_hours": pytest.approx(7.9)}
    assert told["time_to_decision"]["overall"] == overall
    assert told["time_to_decision"]["by_payer_and_month"] == [{"payer": "A", "month": "2024-02", **overall}]
    assert told["decided_in_time"]["overall"] == {"cases": 4, "in_time": 2, "share": 0.5}
    assert told["denial_reasons"] == {"reasons": [{"reason": "no", "cases": 3}], "other": 0, "not_given": 1}
    assert counted(decided, replace(asked, zone="UTC"))["time_to_decision"]["overall"]["cases"] == 0
    assert dump_json(told)
