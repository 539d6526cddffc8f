"""What is kept of a query string: nothing of whoever asked first, and not too much."""

import gc

import asyncpg
import httpx
import pytest

from api.crud.plans import KEPT_PLANS, LONGEST_KEPT, PagePlan, Plans, RowPlan
from api.problems import Problem
from cases.tables import Ruleset
from tenancy.tables import Role
from tests.api.problems import assert_problem
from tests.clinics import Clinic

MEGABYTE = 1_000_000
LARGE = """
INSERT INTO ingestions (id, tenant_id, source_type, source_metadata, status, storage_path, created_at, updated_at)
SELECT gen_random_uuid(), $1, 'pdf', jsonb_build_object('text', repeat('x', size)), 'pending',
       lpad(n::text, 4, '0'), now(), now()
  FROM unnest($2::int[]) WITH ORDINALITY AS sizes (size, n)
"""


def plans_alive() -> int:
    """How many plans there are in this process, whoever keeps them."""
    gc.collect()
    return sum(isinstance(item, PagePlan | RowPlan) for item in gc.get_objects())


# -- Whose plan it is --------------------------------------------------------


async def test_same_query_of_two_tenants(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """Two tenants who ask in turn with the same query string get their own rows, counts and links, each time."""
    for query in ("", "__count=exact&__order=id", "payer=Cigna", "__page_size=1&__count=exact"):
        answers = []
        for clinic in clinics * 3:
            answer = await client.get(f"/api/rulesets/?{query}", headers=clinic.headers())
            assert answer.status_code == 200, answer.text
            document = answer.json()
            assert [row["tenant_id"] for row in document["rows"]] == [str(clinic.id)]
            assert [row["id"] for row in document["rows"]] == [str(clinic.rows["rulesets"])]
            assert document.get("total", 1) == 1
            answers.append(document)
        assert answers[:2] * 3 == answers


async def test_same_row_of_two_tenants(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """A row's plan finds the row for its tenant, in turn with another, who is told that there is none."""
    for _ in range(3):
        for clinic in clinics:
            for other in clinics:
                path = f"/api/cases/{clinic.rows['cases']}/?__visible_fields=id,payer"
                answer = await client.get(path, headers=other.headers())
                assert answer.status_code == (200 if other is clinic else 404)
                if other is clinic:
                    assert answer.json() == {"id": str(clinic.rows["cases"]), "payer": "Cigna"}


async def test_same_query_of_two_roles(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """A query that an admin may ask is refused to staff, before and after it was asked, at both tenants."""
    query = "__page_size=1000&__order=id"
    for _ in range(3):
        for clinic in clinics:
            path = f"/api/audit_logs/{clinic.rows['audit_logs']}/"
            for url in (f"/api/audit_logs/?{query}", path):
                assert_problem(await client.get(url, headers=clinic.headers(Role.staff)), 403)
            answer = await client.get(f"/api/audit_logs/?{query}", headers=clinic.headers(Role.admin))
            rows = answer.json()["rows"]
            assert {row["tenant_id"] for row in rows} == {str(clinic.id)}
            assert str(clinic.rows["audit_logs"]) in {row["id"] for row in rows}
            assert (await client.get(path, headers=clinic.headers(Role.admin))).status_code == 200


# -- Lists of large rows -----------------------------------------------------


@pytest.mark.parametrize(
    ("size", "lengths"),
    [
        (20, [3 * MEGABYTE] * 5),  # All have more than their share, 1.6 MB.
        (20, [1, 3 * MEGABYTE, 1, 3 * MEGABYTE]),
        (1000, [100_000] * 30),
        (3, [20 * MEGABYTE, 1, 1, 1, 1]),  # There is a next page.
        (3, [1, 1, 1, 20 * MEGABYTE]),  # Only the row that tells of the next page is large.
    ],
)
async def test_large_rows_come_whole(
    admin: httpx.AsyncClient,
    north: Clinic,
    superuser: asyncpg.Connection,
    size: int,
    lengths: list[int],
) -> None:
    """A page whose rows have more than their share of the limit, but not together, is whole and in order."""
    await superuser.execute(LARGE, north.id, lengths)
    for _ in range(2):
        query = f"source_type=pdf&__order=storage_path&__page_size={size}&__count=exact"
        answer = await admin.get(f"/api/ingestions/?{query}")
        assert answer.status_code == 200, answer.text[:1000]
        document = answer.json()
        assert document["total"] == len(lengths)
        assert [len(row["source_metadata"]["text"]) for row in document["rows"]] == lengths[:size]
        numbers = range(1, min(size, len(lengths)) + 1)
        assert [row["storage_path"] for row in document["rows"]] == [f"{number:04}" for number in numbers]
        assert ("next" in answer.links) is (len(lengths) > size)


async def test_too_large_is_refused_each_time(
    admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection
) -> None:
    """A page that is too large is a 400 also from its kept plan, which answers when the rows are fewer."""
    url = "/api/ingestions/?source_type=pdf&__page_size=20"
    await superuser.execute(LARGE, north.id, [9 * MEGABYTE] * 4)
    for _ in range(2):
        assert_problem(await admin.get(url), 400)
    await superuser.execute("DELETE FROM ingestions WHERE storage_path = '0001'")
    answer = await admin.get(url)
    assert [len(row["source_metadata"]["text"]) for row in answer.json()["rows"]] == [9 * MEGABYTE] * 3


# -- How much is kept --------------------------------------------------------


def test_kept_plans_are_bounded() -> None:
    """The same query string has one plan; of 600 different ones no more than the last `KEPT_PLANS` are kept."""
    plans = Plans(Ruleset)
    before = plans_alive()
    for number in range(KEPT_PLANS + 100):
        query_string = f"payer=p{number}".encode()
        assert plans.page(query_string) is plans.page(query_string)
        assert plans.page(query_string).statement.values[0] == f"%p{number}%"
    assert plans_alive() - before == KEPT_PLANS
    for number in range(KEPT_PLANS + 100):
        plans.row(f"__visible_fields=id&{'&' * number}".encode())
    assert plans_alive() - before <= 2 * KEPT_PLANS


def test_nothing_is_kept_of_what_is_long_or_wrong() -> None:
    """A query string that is too long to be kept has a plan each time, and one that is wrong has none."""
    plans = Plans(Ruleset)
    before = plans_alive()
    for number in range(50):
        long = f"payer=p{number}".encode() + b"&" * LONGEST_KEPT
        assert plans.page(long) is not plans.page(long)
        for make in (plans.page, plans.row):
            with pytest.raises(Problem):
                make(f"nothing{number}=1".encode())
    assert plans_alive() == before


async def test_many_queries_are_answered_right(admin: httpx.AsyncClient, rulesets: list[str]) -> None:
    """More query strings than are kept, asked in turn, find each its own row, the first ones again too."""
    for number in (*range(KEPT_PLANS + 100), *range(len(rulesets))):
        answer = await admin.get(f"/api/rulesets/?procedure=p{number}")
        expected = [rulesets[number]] if number < len(rulesets) else []
        assert [row["payer"] for row in answer.json()["rows"]] == expected
