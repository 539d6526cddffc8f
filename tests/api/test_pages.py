"""What a page says of the list around it: links to the other pages, and how many rows there are."""

import re

import asyncpg
import httpx
import pytest

from tests.api.lists import PAYERS, refused
from tests.clinics import Clinic

LINK = re.compile(r'<([^<>]+)>; rel="(\w+)"')
INSERT = """
INSERT INTO rulesets (id, tenant_id, payer, procedure, rules_json)
SELECT gen_random_uuid(), $1, 'Payer ' || n % 5, n, '{}' FROM generate_series(1, $2::int) AS n
"""


async def links(client: httpx.AsyncClient, path: str) -> dict[str, str]:
    """The targets of a page's links by their relation."""
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    header = answer.headers.get("link", "")
    found = {relation: target for target, relation in LINK.findall(header)}
    assert header == ", ".join(f'<{target}>; rel="{relation}"' for relation, target in found.items())
    return found


async def shown(client: httpx.AsyncClient, path: str) -> list[str]:
    """The payers of a page, whose address is used as it is."""
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return [row["payer"] for row in answer.json()["rows"]]


@pytest.mark.usefixtures("rulesets")
async def test_links_of_pages(admin: httpx.AsyncClient) -> None:
    """`first`, `prev`, `next` and, with a total, `last` lead to those pages, the other parameters kept."""
    query = "/api/rulesets/?__order=procedure&__page_size=4&payer__ne=a%26b%2B%22%C3%AB"
    query += "&procedure__in=p0,p1,p2,p3,p4,p5,p6,p7,p8"
    expected = {"first": PAYERS[:4], "prev": PAYERS[:4], "next": PAYERS[8:], "last": PAYERS[8:]}
    for count in ("__total=true", "__count=exact"):
        found = await links(admin, f"{query}&__page=2&{count}")
        assert {relation: await shown(admin, target) for relation, target in found.items()} == expected
    assert (await links(admin, f"{query}&__page=2")).keys() == {"first", "prev", "next"}
    assert (await links(admin, query)).keys() == {"first", "next"}
    assert (await links(admin, f"{query}&__page=3")).keys() == {"first", "prev"}
    assert (await links(admin, f"{query}&__page=3&__total=true")).keys() == {"first", "prev", "last"}
    empty = await links(admin, "/api/rulesets/?payer=nobody&__total=true")
    assert {relation: await shown(admin, target) for relation, target in empty.items()} == {"first": [], "last": []}


@pytest.mark.usefixtures("rulesets")
async def test_links_of_cursors(admin: httpx.AsyncClient) -> None:
    """With cursors `next` leads through all pages and `first` back to the first; the last has no `next`."""
    path: str | None = "/api/rulesets/?__order=procedure&__page_size=4&__cursor=&__total=true"
    pages = []
    while path:
        found = await links(admin, path)
        assert found.keys() <= {"first", "next"}
        pages.append(await shown(admin, path))
        assert await shown(admin, found["first"]) == PAYERS[:4]
        assert (await admin.get(path)).json()["total"] == 9
        path = found.get("next")
    assert pages == [PAYERS[:4], PAYERS[4:8], PAYERS[8:]]


async def test_counts(admin: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> None:
    """`__count=exact` counts; `estimated` does so up to 1,000 rows, and estimates above, without a last page."""
    north, south = clinics
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute("DELETE FROM rulesets")
    await superuser.execute(INSERT, north.id, 3000)
    await superuser.execute(INSERT, south.id, 5000)
    await superuser.execute("ANALYZE rulesets")

    async def total(query: str) -> int:
        answer = await admin.get(f"/api/rulesets/?{query}")
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["total_pages"] == -(-body["total"] // 20)
        return int(body["total"])

    assert (
        await total("__count=exact") == await total("__total=true") == await total("__count=exact&__total=no") == 3000
    )
    assert await total("__count=exact&payer=Payer 1") == await total("__count=estimated&payer=Payer 1") == 600
    assert 1500 < await total("__count=estimated") < 6000
    assert 1001 <= await total("__count=estimated&payer__ne=Payer 1") < 6000
    assert "last" in await links(admin, "/api/rulesets/?__count=exact")
    assert "last" not in await links(admin, "/api/rulesets/?__count=estimated")
    assert (await admin.get("/api/rulesets/count/?payer=Payer 1")).json() == {"count": 600, "page_size": 20}
    assert 1500 < (await admin.get("/api/rulesets/count/?__count=estimated")).json()["count"] < 6000
    for bad in ("__count=true", "__count=", "__count=planned", "__count=exact&__count=exact"):
        assert "__count" in await refused(admin, f"/api/rulesets/?{bad}")
