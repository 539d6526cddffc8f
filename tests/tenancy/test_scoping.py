"""The helpers for scripts and shells: one tenant, the whole platform, no trace, a page."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from piccolo.engine.exceptions import TransactionError

from audit.tables import AuditLog
from cases.tables import Case, Ruleset
from tenancy.databases import Databases
from tenancy.engine import FastlaneEngine
from tenancy.scoping import UnknownTenant, UnknownUser, is_healthy, paginate, platform, rollback, tenant
from tenancy.tables import Tenant, User
from tests.clinics import Clinic
from tests.cluster import TestDatabase

PAYERS = [f"Payer {number:02}" for number in range(1, 12)]


@pytest_asyncio.fixture
async def north(clinics: tuple[Clinic, Clinic]) -> AsyncIterator[Clinic]:
    """A clinic with eleven rulesets of known payers, in a transaction of its own."""
    async with tenant("north"):
        await Ruleset.delete(force=True)
        await Ruleset.insert(*(Ruleset(payer=payer, procedure="97110", rules_json="{}") for payer in PAYERS))
    yield clinics[0]


# -- tenant() and platform() -------------------------------------------------


async def test_tenant_sees_its_own(clinics: tuple[Clinic, Clinic]) -> None:
    """Inside `tenant()` there are the rows of that tenant and no others."""
    for clinic in clinics:
        async with tenant(clinic.slug):
            assert await Tenant.select(Tenant.id).output(as_list=True) == [clinic.id]
            assert await Case.select(Case.id).output(as_list=True) == [clinic.rows["cases"]]


async def test_tenant_writes_into_its_own(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> None:
    """A row that is written inside `tenant()` belongs to that tenant without saying so."""
    async with tenant("south"):
        await Ruleset(payer="New", procedure="1", rules_json="{}").save()
    assert await superuser.fetchval("SELECT tenant_id FROM rulesets WHERE payer = 'New'") == clinics[1].id


async def test_tenant_cannot_write_into_another(clinics: tuple[Clinic, Clinic]) -> None:
    """A row that names another tenant is refused inside `tenant()`."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with tenant("south"):
            await Ruleset(tenant_id=clinics[0].id, payer="New", procedure="1", rules_json="{}").save()


async def test_tenant_as_one_of_its_users(clinics: tuple[Clinic, Clinic]) -> None:
    """With an email, the trail names that user; without one, the script that ran."""
    user_id = next(iter(clinics[0].users.values()))
    async with tenant("north", "admin@north.com"):
        await Ruleset(payer="By a user", procedure="1", rules_json="{}").save()
        entry = await AuditLog.objects().order_by(AuditLog.created_at, ascending=False).first()
    assert entry is not None
    assert (entry.user_id, entry.actor) == (user_id, f"user:{user_id}")
    async with tenant("north"):
        ruleset = Ruleset(payer="By a script", procedure="1", rules_json="{}")
        await ruleset.save()
        entry = await AuditLog.objects().where(AuditLog.entity_id == ruleset.id).first()
    assert entry is not None
    assert entry.user_id is None
    assert str(entry.actor).startswith("script:")


async def test_unknown_names(clinics: tuple[Clinic, Clinic]) -> None:
    """A tenant or user that does not exist is an error that names it, another tenant's user too."""
    with pytest.raises(UnknownTenant, match="nowhere"):
        async with tenant("nowhere"):
            pytest.fail("there is no such tenant")
    for email in ("nobody@north.com", f"admin@{clinics[1].slug}.com", "' OR true --"):
        with pytest.raises(UnknownUser, match=email.replace("(", "")):
            async with tenant("north", email):
                pytest.fail("there is no such user")


async def test_platform_sees_all(clinics: tuple[Clinic, Clinic]) -> None:
    """Inside `platform()` there are the rows of every tenant."""
    async with platform():
        assert set(await Tenant.select(Tenant.id).output(as_list=True)) == {clinic.id for clinic in clinics}
        assert set(await Case.select(Case.tenant_id).output(as_list=True)) == {clinic.id for clinic in clinics}


async def test_error_undoes_the_block(clinics: tuple[Clinic, Clinic]) -> None:
    """An exception that leaves `tenant()` takes everything back that the block did."""

    async def fail() -> None:
        async with tenant("north"):
            await Ruleset.delete(force=True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with tenant("north"):
        assert await Ruleset.count() == 1


async def test_scopes_do_not_nest(clinics: tuple[Clinic, Clinic]) -> None:
    """Inside one tenant nobody becomes another tenant or the platform."""
    async with tenant("north"):
        with pytest.raises(TransactionError):
            async with tenant("south"):
                pytest.fail("this is another tenant")
        with pytest.raises(TransactionError):
            async with platform():
                pytest.fail("this is every tenant")
        assert await Tenant.select(Tenant.id).output(as_list=True) == [clinics[0].id]


# -- rollback() --------------------------------------------------------------


async def test_rollback_leaves_no_trace(clinics: tuple[Clinic, Clinic]) -> None:
    """What the block of `rollback()` did is gone, what was done before and after it stays."""
    async with tenant("north"):
        await Ruleset(payer="Before", procedure="1", rules_json="{}").save()
        async with rollback():
            await Ruleset.delete(force=True)
            assert await Ruleset.count() == 0
        await Ruleset(payer="After", procedure="1", rules_json="{}").save()
    async with tenant("north"):
        payers = await Ruleset.select(Ruleset.payer).order_by(Ruleset.created_at).output(as_list=True)
        assert sorted(payers) == ["After", "Before", "Cigna"]
        assert not await AuditLog.exists().where((AuditLog.action == "delete") & (AuditLog.entity_type == "ruleset"))


async def test_rollback_mends_a_failed_transaction(clinics: tuple[Clinic, Clinic]) -> None:
    """After a statement that failed inside `rollback()` the transaction around it goes on and commits."""
    async with tenant("north"):
        await Ruleset(payer="Kept", procedure="1", rules_json="{}").save()
        with pytest.raises(asyncpg.UniqueViolationError):
            async with rollback():
                await User(email="admin@north.com", role="staff").save()
        assert await Ruleset.exists().where(Ruleset.payer == "Kept")
    async with tenant("north"):
        assert await Ruleset.exists().where(Ruleset.payer == "Kept")


async def test_rollback_nests(clinics: tuple[Clinic, Clinic]) -> None:
    """`rollback()` inside `rollback()` undoes the inner block first, then the outer one."""
    async with tenant("north"):
        async with rollback():
            await Ruleset.update({Ruleset.payer: "Outer"}, force=True)
            async with rollback():
                await Ruleset.update({Ruleset.payer: "Inner"}, force=True)
            assert await Ruleset.select(Ruleset.payer).output(as_list=True) == ["Outer"]
        assert await Ruleset.select(Ruleset.payer).output(as_list=True) == ["Cigna"]


@pytest.mark.usefixtures("engine")
async def test_rollback_needs_a_transaction() -> None:
    """`rollback()` on its own says what it needs."""
    with pytest.raises(RuntimeError, match=r"tenant\(\) or platform\(\)"):
        async with rollback():
            pytest.fail("there is nothing to roll back")


# -- is_healthy() ------------------------------------------------------------


async def test_is_healthy(engine: FastlaneEngine, pooled: FastlaneEngine) -> None:
    """A database that answers is healthy, with a pool and without."""
    assert await is_healthy()
    await engine.close_connection_pool()
    assert await is_healthy()
    await pooled.start_connection_pool()


async def test_is_not_healthy(engine: FastlaneEngine, database: TestDatabase, tmp_path: Path) -> None:
    """No server, no such database, no such user: the answer is no, and not an error."""
    broken = [
        "postgresql://fastlane_app@127.0.0.1:1/nothing",
        database.app.replace(database.name, "no_such_database"),
        database.app.replace("fastlane_app@", "no_such_user@"),
    ]
    for url in broken:
        engine.databases = Databases(database.settings(tmp_path, database_url=url))
        assert await is_healthy() is False
    engine.databases = Databases(database.settings(tmp_path))
    assert await is_healthy() is True


# -- paginate() --------------------------------------------------------------


@pytest.mark.usefixtures("north")
@pytest.mark.parametrize(
    ("page", "page_size", "payers", "total_pages"),
    [
        (1, 5, PAYERS[:5], 3),
        (2, 5, PAYERS[5:10], 3),
        (3, 5, PAYERS[10:], 3),
        (4, 5, [], 3),
        (1, 11, PAYERS, 1),
        (1, 100, PAYERS, 1),
        (11, 1, PAYERS[10:], 11),
    ],
)
async def test_pages(page: int, page_size: int, payers: list[str], total_pages: int) -> None:
    """Each page holds its rows in the query's order, and all of them the same totals."""
    async with tenant("north"):
        found = await paginate(Ruleset.select(Ruleset.payer).order_by(Ruleset.payer), page, page_size)
    assert [row["payer"] for row in found.data] == payers
    assert (found.total, found.total_pages) == (11, total_pages)
    assert (found.page, found.page_size) == (page, page_size)


@pytest.mark.usefixtures("north")
async def test_page_of_filtered_objects() -> None:
    """Rows come as objects when the query asks for objects; the total counts what the filter leaves."""
    query = Ruleset.objects().where(Ruleset.payer < "Payer 05").order_by(Ruleset.payer, ascending=False)
    async with tenant("north"):
        found = await paginate(query, page=2, page_size=3)
        empty = await paginate(Ruleset.objects().where(Ruleset.payer == "Nobody"))
    assert [type(row) for row in found.data] == [Ruleset]
    assert found.data[0].payer == "Payer 01"
    assert (found.total, found.page, found.page_size, found.total_pages) == (4, 2, 3, 2)
    assert (empty.data, empty.total, empty.page, empty.page_size, empty.total_pages) == ([], 0, 1, 20, 0)


@pytest.mark.usefixtures("north")
async def test_page_is_of_the_tenant() -> None:
    """A page counts and holds the rows of the bound tenant only."""
    async with tenant("south"):
        assert (await paginate(Ruleset.select())).total == 1
    async with platform():
        assert (await paginate(Ruleset.select())).total == 12


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("page", "page_size"), [(0, 20), (-1, 20), (1, 0), (1, -5)])
async def test_no_such_page(page: int, page_size: int) -> None:
    """A page or size below one is an error, not an empty page."""
    with pytest.raises(ValueError, match="at least 1"):
        await paginate(Ruleset.select(), page, page_size)
