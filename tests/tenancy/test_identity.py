"""Who a verified subject is: what the users table says of it now, and nothing that a client says."""

import asyncio
from contextlib import suppress
from typing import Any

import asyncpg
import httpx
import pytest

from tenancy.settings import Settings
from tenancy.tables import Role
from tenancy.tokens import DevelopmentKeys
from tests.clinics import Clinic
from tests.conftest import Running
from tests.tenancy.identity_provider import IdentityProvider


async def me(client: httpx.AsyncClient, clinic: Clinic, role: Role = Role.staff) -> httpx.Response:
    return await client.get("/api/me/", headers=clinic.headers(role))


async def test_me(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """Each user is the row whose auth_id is the token's subject, in its tenant and role."""
    for clinic in clinics:
        for role in Role:
            body = (await me(client, clinic, role)).json()
            assert body["role"] == role.value
            assert body["tenant"]["id"] == str(clinic.id)
            assert body["tenant"]["slug"] == clinic.slug
            assert body["user"]["id"] == str(clinic.users[role])
            assert body["user"]["email"] == f"{role.value}@{clinic.slug}.com"
            assert ("delete" in body["permissions"]["cases"]) == (role is Role.admin)
            assert body["permissions"]["audit_logs"] == (["read"] if role is Role.admin else [])


async def test_unknown_subject(client: httpx.AsyncClient, settings: Settings) -> None:
    """A valid token of somebody who is no user of any tenant is a 403 on every path."""
    keys = DevelopmentKeys(settings.data_dir)
    for subject in ("nobody", "' OR true --", "NORTH-ADMIN", " north-admin", "x" * 3000, "🏥"):
        headers = {"Authorization": f"Bearer {keys.sign(subject, settings, minutes=5)}"}
        for path in ("/api/me/", "/api/cases/", "/api/nothing/"):
            assert (await client.get(path, headers=headers)).status_code == 403


@pytest.mark.usefixtures("clinics")
async def test_claims_choose_nothing(app: Running, provider: IdentityProvider, clinics: tuple[Clinic, Clinic]) -> None:
    """Tenant and role in claims, headers, query or body change neither."""
    north, south = clinics
    chosen: dict[str, Any] = {
        "tenant_id": str(south.id),
        "role": "admin",
        "tenant": "south",
        "app.tenant_id": str(south.id),
    }
    token = provider.keys[0].sign("north-staff", **chosen)
    headers = {"Authorization": f"Bearer {token}", "X-Tenant-Id": str(south.id), "X-Role": "admin", "X-User": "x"}
    body = (await app.client.get("/api/me/", headers=headers, params={"tenant_id": str(south.id)})).json()
    assert (body["tenant"]["id"], body["role"]) == (str(north.id), "staff")
    rows = (await app.client.get("/api/cases/", headers=headers)).json()["rows"]
    assert [row["id"] for row in rows] == [str(north.rows["cases"])]
    listed = await app.client.get("/api/cases/", headers=headers, params={"tenant_id": str(south.id)})
    assert listed.json()["rows"] == []


async def test_deactivation_over_http(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """A user whom an admin deactivates is refused from the next request on, and let in again when active."""
    north = clinics[0]
    path = f"/api/users/{north.users[Role.staff]}/"
    for _ in range(2):
        assert (await me(client, north)).status_code == 200
        assert (await client.patch(path, headers=north.headers(), json={"is_active": False})).status_code == 200
        for other in ("/api/me/", "/api/cases/", "/api/nothing/"):
            assert (await client.get(other, headers=north.headers(Role.staff))).status_code == 403
        assert (await client.patch(path, headers=north.headers(), json={"is_active": True})).status_code == 200


async def test_role_change_over_http(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """A role that an admin changes has its effect from the next request on."""
    north = clinics[0]
    path = f"/api/users/{north.users[Role.staff]}/"
    logs = "/api/audit_logs/"
    assert (await client.get(logs, headers=north.headers(Role.staff))).status_code == 403
    assert (await client.patch(path, headers=north.headers(), json={"role": "admin"})).status_code == 200
    assert (await client.get(logs, headers=north.headers(Role.staff))).status_code == 200
    assert (await client.patch(path, headers=north.headers(), json={"role": "staff"})).status_code == 200
    assert (await client.get(logs, headers=north.headers(Role.staff))).status_code == 403


async def test_deletion_over_http(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """A user whom an admin deletes is refused from the next request on."""
    north = clinics[0]
    staff = north.headers(Role.staff)
    assert (await client.get("/api/cases/", headers=staff)).status_code == 200
    path = f"/api/users/{north.users[Role.staff]}"
    assert (await client.delete(path, headers=north.headers())).status_code == 204
    assert (await client.get("/api/cases/", headers=staff)).status_code == 403
    assert (await me(client, north)).status_code == 403


async def test_change_that_is_refused_forgets_nobody(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """An admin of one clinic cannot deactivate a user of another, and that user goes on."""
    north, south = clinics
    path = f"/api/users/{south.users[Role.staff]}/"
    assert (await client.patch(path, headers=north.headers(), json={"is_active": False})).status_code == 404
    assert (await me(client, south)).status_code == 200


CHANGES = {
    Role.staff: "DELETE FROM users WHERE id = $1",
    Role.clinician: "UPDATE users SET is_active = false WHERE id = $1",
    Role.admin: "UPDATE users SET auth_id = 'somebody else' WHERE id = $1",
}


async def test_change_elsewhere(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """A user whom another process deletes, deactivates or gives another subject is refused within ten seconds."""
    north = clinics[0]
    admitted = set(CHANGES)
    for role in CHANGES:
        assert (await me(client, north, role)).status_code == 200
    for role, statement in CHANGES.items():
        await superuser.execute(statement, north.users[role])
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            while admitted:
                await asyncio.sleep(0.2)
                for role in list(admitted):
                    if (await client.get("/api/cases/", headers=north.headers(role))).status_code == 403:
                        admitted.remove(role)
    assert admitted == set()
