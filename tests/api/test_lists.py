"""Lists beyond their filters: order, pages, totals, columns, and the paths beside the rows."""

from typing import Any

import httpx
import pytest

from cases.tables import Ruleset
from tenancy.scoping import tenant
from tenancy.tables import Role
from tests.api.lists import PAYERS, payers, refused
from tests.clinics import Clinic

# -- Order and pages ---------------------------------------------------------


@pytest.mark.usefixtures("rulesets")
async def test_order(admin: httpx.AsyncClient) -> None:
    """Newest first by default; otherwise as asked, by several columns, each up or down."""
    assert await payers(admin, "") == PAYERS[::-1]
    assert await payers(admin, "__order=created_at") == PAYERS
    assert await payers(admin, "__order=-procedure") == PAYERS[::-1]
    assert await payers(admin, "__order=is_active,-procedure") == PAYERS[7::-2] + PAYERS[8::-2]
    assert await payers(admin, "__order=-is_active&__order=procedure") == PAYERS[::2] + PAYERS[1::2]
    for bad in ("nothing", "", "-", "rules_json", "payer,", "payer desc", "tenant_id.slug"):
        await refused(admin, f"/api/rulesets/?__order={bad}")


@pytest.mark.usefixtures("rulesets")
async def test_pages(admin: httpx.AsyncClient) -> None:
    """Pages follow each other without gap or overlap; a page past the last is empty."""
    pages = [await payers(admin, f"__order=procedure&__page_size=4&__page={page}") for page in range(1, 5)]
    assert pages == [PAYERS[:4], PAYERS[4:8], PAYERS[8:], []]
    ties = [await payers(admin, f"__order=is_active&__page_size=2&__page={page}") for page in range(1, 6)]
    assert sorted(payer for page in ties for payer in page) == sorted(PAYERS)


async def test_ties(admin: httpx.AsyncClient) -> None:
    """Rows that the order does not tell apart come by their keys, so that pages of them are stable."""
    async with tenant("north"):
        await Ruleset.delete(force=True)
        await Ruleset.insert(*(Ruleset(payer="same", procedure="p", rules_json="{}") for _ in range(50)))
    for order in ("", "__order=payer&", "__order=-payer,is_active&"):
        pages = [
            (await admin.get(f"/api/rulesets/?{order}__page_size=10&__page={page}")).json()["rows"]
            for page in range(1, 6)
        ]
        ids = [row["id"] for page in pages for row in page]
        assert (order, ids) == (order, sorted(ids))


async def test_page_sizes(admin: httpx.AsyncClient) -> None:
    """Twenty rows unless asked otherwise, up to a thousand, and more is a 400, never clamped."""
    async with tenant("north"):
        rows = [Ruleset(payer=f"{n}", procedure="p", rules_json="{}") for n in range(1001)]
        for start in range(0, 1001, 100):
            await Ruleset.insert(*rows[start : start + 100])
    assert len(await payers(admin, "")) == 20
    assert len(await payers(admin, "__page_size=1000")) == 1000
    for bad in ("1001", "100000", "0", "-1", "x", "", "1.0", "%2B1", "1&__page_size=2"):
        assert "__page_size" in await refused(admin, f"/api/rulesets/?__page_size={bad}")
    for bad in ("0", "-1", "x", "", "1.5", "1&__page=2"):
        assert "__page" in await refused(admin, f"/api/rulesets/?__page={bad}")
    assert len((await admin.get("/api/rulesets/ids/")).json()) == 1000
    await refused(admin, "/api/rulesets/ids/?limit=1001")


@pytest.mark.usefixtures("rulesets")
async def test_total(admin: httpx.AsyncClient) -> None:
    """`__total` adds page, page_size, total and total_pages, of the rows that the filters leave."""

    async def totals(query: str) -> dict[str, Any]:
        body = (await admin.get(f"/api/rulesets/?{query}")).json()
        del body["rows"]
        return dict(body)

    assert await totals("") == await totals("__total=false") == {}
    expected = {"page": 1, "page_size": 20, "total": 9, "total_pages": 1}
    assert await totals("__total=true") == expected
    expected = {"page": 2, "page_size": 2, "total": 4, "total_pages": 2}
    assert await totals("__total=true&is_active=false&__page=2&__page_size=2") == expected
    expected = {"page": 1, "page_size": 20, "total": 0, "total_pages": 0}
    assert await totals("__total=true&payer=nobody") == expected
    await refused(admin, "/api/rulesets/?__total=maybe")


@pytest.mark.usefixtures("rulesets")
async def test_range_header(admin: httpx.AsyncClient) -> None:
    """`__range_header` counts what the filters leave, under a name that cannot break the header."""

    async def content_range(query: str) -> str | None:
        answer = await admin.get(f"/api/rulesets/?{query}")
        assert answer.status_code == 200
        return dict(answer.headers).get("content-range")

    assert await content_range("") is None
    assert await content_range("__range_header=true") == "rulesets 0-8/9"
    assert await content_range("__range_header=true&is_active=false") == "rulesets 0-3/4"
    assert await content_range("__range_header=true&__page=2&__page_size=4") == "rulesets 4-7/9"
    assert await content_range("__range_header=true&__range_header_name=items") == "items 0-8/9"
    for bad in ("a%0d%0ab", "a%20b", "", "%C3%AB", "a/b"):
        await refused(admin, f"/api/rulesets/?__range_header=true&__range_header_name={bad}")


# -- Columns -----------------------------------------------------------------


async def test_visible_fields(admin: httpx.AsyncClient, north: Clinic) -> None:
    """`__visible_fields` chooses the columns of a list and of a row; an unknown one is a 400."""
    case = north.rows["cases"]
    query = "__visible_fields=payer,metadata_json,id"
    expected = {"id": str(case), "payer": "Cigna", "metadata_json": None}
    assert (await admin.get(f"/api/cases/?{query}")).json() == {"rows": [expected]}
    assert (await admin.get(f"/api/cases/{case}/?{query}")).json() == expected
    repeated = "__visible_fields=payer&__visible_fields=id"
    assert (await admin.get(f"/api/cases/?{repeated}")).json()["rows"][0].keys() == {"id", "payer"}
    for bad in ("nothing", "", "id,", "created_by.", "payer.x", "*"):
        assert "__visible_fields" in await refused(admin, f"/api/cases/?__visible_fields={bad}")
        assert "__visible_fields" in await refused(admin, f"/api/cases/{case}/?__visible_fields={bad}")


async def test_readable(admin: httpx.AsyncClient, north: Clinic) -> None:
    """`__readable` adds a readable name beside each reference, in a list and in a row."""
    task = north.rows["tasks"]
    names = {"case_id_readable": "Cigna · normal · pending", "assigned_to_readable": "spare@north.com"}
    for row in (
        (await admin.get("/api/tasks/?__readable=true")).json()["rows"][0],
        (await admin.get(f"/api/tasks/{task}/?__readable=true")).json(),
    ):
        assert row.items() >= names.items()
        assert row["id"] == str(task)
    assert not names.keys() & (await admin.get("/api/tasks/?__readable=false")).json()["rows"][0].keys()
    await refused(admin, "/api/tasks/?__readable=maybe")


async def test_ids(admin: httpx.AsyncClient, north: Clinic) -> None:
    """`/ids/` maps keys to readable names, with search, limit and offset, of the own clinic only."""
    own = {str(north.users[role]): f"{role.value}@north.com" for role in Role}
    everyone = own | {str(north.rows["users"]): "spare@north.com"}
    assert (await admin.get("/api/users/ids/")).json() == everyone
    assert list((await admin.get("/api/users/ids/?search=ADMIN")).json().values()) == ["admin@north.com"]
    assert (await admin.get("/api/users/ids/?search=%25")).json() == {}
    assert (await admin.get("/api/users/ids/?search=_")).json() == {}
    paged = [(await admin.get(f"/api/users/ids/?limit=3&offset={offset}")).json() for offset in (0, 3)]
    assert [len(page) for page in paged] == [3, 1]
    assert paged[0] | paged[1] == everyone


async def test_new_schema_references_count(admin: httpx.AsyncClient) -> None:
    """`/new/` has a row's defaults, `/schema/` its JSON schema, `/references/` who refers to it, `/count/` how many."""
    new = (await admin.get("/api/cases/new/")).json()
    assert new.items() >= {"status": "pending", "priority": "normal", "diagnosis_codes": []}.items()
    assert not {"id", "tenant_id", "created_by", "created_at"} & new.keys()
    schema = (await admin.get("/api/cases/schema/")).json()
    assert schema["properties"]["confidence_json"]["type"] == "object"
    assert "payer" in schema["required"]
    references = (await admin.get("/api/cases/references/")).json()["references"]
    expected = [("case_codes", "case_id"), ("cases", "previous_case_id"), ("tasks", "case_id")]
    assert sorted((reference["tableName"], reference["columnName"]) for reference in references) == expected
    assert (await admin.get("/api/cases/count/")).json() == {"count": 1, "page_size": 20}
