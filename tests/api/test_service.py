"""The paths beside the tables, and what holds for every request."""

import re
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from tenancy.permissions import PERMISSIONS, Operation
from tenancy.settings import Settings
from tenancy.tables import Role
from tests.clinics import TABLES, Clinic
from tests.conftest import Running, serve


class Loads(HTMLParser):
    """Collects what a page makes a browser fetch by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.urls.append(named.get("src") or "")
        if tag == "link":
            self.urls.append(named.get("href") or "")


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/problems/not-found"])
async def test_pages_load_nothing(client: httpx.AsyncClient, path: str) -> None:
    """A page of ours is whole in itself: it loads nothing, least of all from another host."""
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    loads = Loads()
    loads.feed(answer.text)
    assert not [url for url in loads.urls if url]
    assert "@import" not in answer.text
    assert "url(" not in answer.text


async def test_front_page_leads_everywhere(client: httpx.AsyncClient) -> None:
    """Each link of the front page is answered."""
    links = re.findall(r'href="([^"]+)"', (await client.get("/")).text)
    assert {"/admin/", "/docs", "/openapi.json", "/readyz", "/healthz", "/metrics"} <= set(links)
    for link in links:
        assert (await client.get(link)).status_code == 200, link


async def test_health_asks_no_database(running: Running) -> None:
    """/healthz answers while the pool is gone; /readyz says 503 and why."""
    assert (await running.client.get("/readyz")).json() == {"status": "ready"}
    pool, running.engine.pool = running.engine.pool, None
    databases, running.engine.databases = running.engine.databases, _nowhere(running)
    try:
        assert (await running.client.get("/healthz")).status_code == 200
        answer = await running.client.get("/readyz")
        assert answer.status_code == 503
        assert "database" in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) > 0
    finally:
        running.engine.pool, running.engine.databases = pool, databases


def _nowhere(running: Running) -> Any:
    settings = running.engine.databases.settings.model_dump()
    lost = {**settings, "database_url": "postgresql://nobody@127.0.0.1:1/nothing"}
    return type(running.engine.databases)(Settings.model_validate(lost))


async def test_pending_migration_is_not_ready(running: Running, superuser: Any) -> None:
    """/readyz names the migration that the database lacks."""
    await superuser.execute("DELETE FROM migration WHERE app_name = 'audit'")
    answer = await running.client.get("/readyz")
    assert answer.status_code == 503
    assert "audit" in answer.json()["detail"]


async def test_openapi_describes_all_of_the_api(client: httpx.AsyncClient) -> None:
    """Every table with every path is in the document, and each reference in it resolves."""
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for table in TABLES:
        for path in ("", "{row_id}/", "ids/", "count/", "new/", "schema/", "references/"):
            assert f"/api/{table}/{path}" in document["paths"]
    for reference in re.findall(r'"\$ref": ?"#/([^"]+)"', httpx.Response(200, json=document).text):
        found: Any = document
        for part in reference.split("/"):
            found = found[part]


async def test_metrics_count_by_route(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """Prometheus sees routes and no identifiers."""
    row = clinics[0].rows["cases"]
    await client.get(f"/api/cases/{row}/", headers=clinics[0].headers())
    text = (await client.get("/metrics")).text
    assert 'http_requests_total{method="GET",route="/api/cases/{id}/",status="200"} 1.0' in text
    assert str(row) not in text


@pytest.mark.parametrize("role", list(Role))
async def test_me_says_what_the_role_may_do(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], role: Role
) -> None:
    """/api/me/ tells user, tenant, role and the permission table's column."""
    north = clinics[0]
    body = (await client.get("/api/me/", headers=north.headers(role))).json()
    assert body["user"]["id"] == str(north.users[role])
    assert body["tenant"]["slug"] == "north"
    assert body["role"] == role.value
    assert set(body["permissions"]) == set(TABLES)
    for table, operations in body["permissions"].items():
        assert {Operation(operation) for operation in operations} == PERMISSIONS[table, role]


async def test_each_answer_has_its_request_id(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """The header of an answer is the id of its problem and of its audit row."""
    refused = await client.get("/api/cases/")
    assert refused.headers["x-request-id"] == refused.json()["request_id"]
    north = clinics[0]
    created = await client.post("/api/cases/", json=north.body("cases"), headers=north.headers())
    trail = await client.get(f"/api/audit_logs/?entity_id={created.json()['id']}", headers=north.headers())
    assert [row["request_id"] for row in trail.json()["rows"]] == [created.headers["x-request-id"]]


async def test_cors_only_where_it_is_set(settings: Settings, clinics: tuple[Clinic, Clinic]) -> None:
    """A listed origin may call the API from a browser, another may not."""
    allowed = Settings.model_validate({**settings.model_dump(), "cors_origins": ("https://app.example.com",)})
    async for app in serve(allowed):
        for origin, echoed in (("https://app.example.com", "https://app.example.com"), ("https://evil.example", None)):
            preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            answer = await app.client.options("/api/cases/", headers=preflight)
            assert answer.headers.get("access-control-allow-origin") == echoed


ONE, TWO = ("127.0.0.1",), ("127.0.0.1", "10.0.0.0/8")
FORWARDED: list[tuple[tuple[str, ...], list[str], str | None]] = [
    ((), ["203.0.113.7"], "127.0.0.1"),
    (ONE, ["203.0.113.7"], "203.0.113.7"),
    (ONE, ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),  # What the client wrote itself comes first.
    (ONE, ["nonsense", "' OR 1=1", "203.0.113.7:4711"], "203.0.113.7"),
    (ONE, ["203.0.113.7, 10.1.2.3"], "10.1.2.3"),
    (TWO, ["198.51.100.1, 203.0.113.7, 10.1.2.3", "10.9.9.9"], "203.0.113.7"),
    (TWO, ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
    (ONE, ["[2001:DB8::1]:443"], "2001:db8::1"),
    (ONE, ["::ffff:203.0.113.7"], "203.0.113.7"),
    (ONE, [f"fe80::1%{'x' * 100}"], "fe80::1"),
    (ONE, ["Jane-Doe"], None),
    (ONE, ["203.0.113.7, unknown"], None),
    (ONE, ["1" * 60], None),
]


async def test_forwarded_address_counts_behind_a_trusted_proxy_only(
    settings: Settings, clinics: tuple[Clinic, Clinic]
) -> None:
    """The trail has the client's address as a trusted proxy tells it, counted from the nearest one, and never as
    anybody else does; what is no address is none."""
    north = clinics[0]
    for trusted in ((), ONE, TWO):
        async for app in serve(Settings.model_validate({**settings.model_dump(), "trusted_proxies": trusted})):
            for proxies, fields, recorded in FORWARDED:
                if proxies == trusted:
                    sent = [*north.headers().items(), *(("X-Forwarded-For", field) for field in fields)]
                    created = await app.client.post("/api/cases/", json=north.body("cases"), headers=sent)
                    await app.client.get(created.headers["location"], headers=sent)
                    path = f"/api/audit_logs/?entity_id={created.json()['id']}"
                    rows = (await app.client.get(path, headers=north.headers())).json()["rows"]
                    assert [row["ip_address"] for row in rows] == [recorded] * 2, fields
