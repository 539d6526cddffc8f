"""Limits and headers that hold for every request: rates, what a browser is told, who may read across origins."""

import asyncio

import pytest

from tenancy.settings import Settings
from tenancy.tables import Role
from tests.api.problems import assert_problem
from tests.clinics import Clinic
from tests.conftest import Running, serve

KEYS = "http://127.0.0.1:9/jwks.json"  # Not asked: no request of that test brings a token.
Clinics = tuple[Clinic, Clinic]


def with_limits(settings: Settings, **limits: object) -> Settings:
    return Settings.model_validate({**settings.model_dump(), **limits})


async def test_a_user_has_a_rate(settings: Settings, clinics: Clinics) -> None:
    """Of 30 requests at once a limit of 7 lets 7 through; the others are told when to come back."""
    north, south = clinics
    async for app in serve(with_limits(settings, rate_limit=7)):
        asked = [app.client.get("/api/cases/", headers=north.headers(Role.staff)) for _ in range(30)]
        answers = await asyncio.gather(*asked)
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [429] * 23
        assert {answer.headers["ratelimit-limit"] for answer in answers} == {"7"}
        granted = [answer for answer in answers if answer.status_code == 200]
        assert sorted(int(answer.headers["ratelimit-remaining"]) for answer in granted) == list(range(7))
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert_problem(refused, 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit-policy"] == '"user";q=7;w=60'
        for other in (north.headers(Role.admin), south.headers(Role.staff)):
            assert (await app.client.get("/api/cases/", headers=other)).status_code == 200


async def test_a_tenant_has_a_rate(settings: Settings, clinics: Clinics) -> None:
    """The users of a tenant share its limit; another tenant's are not touched."""
    north, south = clinics
    async for app in serve(with_limits(settings, rate_limit=5, tenant_rate_limit=8)):
        statuses = [
            (await app.client.get("/api/me/", headers=north.headers(role))).status_code
            for role in (Role.staff, Role.clinician)
            for _ in range(5)
        ]
        assert statuses == [200] * 8 + [429] * 2
        assert (await app.client.get("/api/me/", headers=south.headers())).status_code == 200


async def test_two_servers_share_a_rate(settings: Settings, clinics: Clinics) -> None:
    """Two apps on one database, as two workers are, let no more through than one does."""
    limited = with_limits(settings, rate_limit=6)
    statuses = []
    for _ in range(2):
        async for app in serve(limited):
            answers = [app.client.get("/api/me/", headers=clinics[0].headers()) for _ in range(5)]
            statuses += [answer.status_code for answer in await asyncio.gather(*answers)]
    assert sorted(statuses) == [200] * 6 + [429] * 4


async def test_without_a_limit(running: Running, clinics: Clinics) -> None:
    """In development nobody is counted unless asked."""
    answer = await running.client.get("/api/me/", headers=clinics[0].headers())
    assert not [name for name in answer.headers if name.startswith("ratelimit")]


@pytest.mark.parametrize("path", ["/", "/docs", "/api/cases/", "/api/nothing/", "/admin/", "/openapi.json", "/healthz"])
async def test_security_headers(running: Running, clinics: Clinics, path: str) -> None:
    """No answer may be framed or its type guessed; what a token reads is not kept without asking again."""
    answer = await running.client.get(path, headers=clinics[0].headers())
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "same-origin"
    if path.startswith("/api/"):
        assert answer.headers["cache-control"] == "private, no-cache"
        assert answer.headers["vary"] == "Authorization, Accept"


async def test_production_asks_for_transport_security(settings: Settings, clinics: Clinics) -> None:
    """Strict-Transport-Security is sent in production only: in development it would lock a browser out of localhost."""
    for environment, expected in (("production", True), ("development", False)):
        configured = with_limits(settings, environment=environment, member_id_pepper="p" * 32, auth_jwks_url=KEYS)
        async for app in serve(configured):
            answer = await app.client.get("/healthz")
            assert ("strict-transport-security" in answer.headers) is expected


async def test_browsers_of_known_origins(settings: Settings, clinics: Clinics) -> None:
    """A page of a configured origin may send what the API takes and read what it answers; another's may not."""
    origin = "https://app.example.com"
    async for app in serve(with_limits(settings, cors_origins=(origin,))):
        wanted = "authorization, if-match, idempotency-key, prefer, content-type"
        asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": wanted}
        preflight = await app.client.options("/api/cases/", headers={"Origin": origin, **asked})
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        assert "idempotency-key" in preflight.headers["access-control-allow-headers"].lower()
        answer = await app.client.get("/api/cases/", headers={"Origin": origin, **clinics[0].headers()})
        exposed = answer.headers["access-control-expose-headers"].lower()
        assert all(name in exposed for name in ("etag", "link", "location", "ratelimit", "retry-after"))
        foreign = await app.client.options("/api/cases/", headers={"Origin": "https://evil.example", **asked})
        assert "access-control-allow-origin" not in foreign.headers
