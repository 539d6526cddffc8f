"""The admin in a real browser: what an operator sees and does, and what the pages load."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from playwright.async_api import ConsoleMessage, Page, Request, Response, ViewportSize, async_playwright, expect

from tenancy.tables import Role
from tests.clinics import Clinic
from tests.conftest import PARTS, Running
from tests.operators import PASSWORD, add

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.filterwarnings("ignore:If running sessions in production"),
]

Clinics = tuple[Clinic, Clinic]
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@dataclass
class Watch:
    """What went wrong on a page, besides what its server refused on purpose."""

    url: str
    foreign: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.foreign.append(request.url)

    def request_failed(self, request: Request) -> None:
        self.failed.append(request.url)

    def response(self, response: Response) -> None:
        # Before the login the page asks who is there, and is told that nobody is.
        if response.status >= 400 and response.status != 401:
            self.failed.append(f"{response.status} {response.url}")

    def console(self, message: ConsoleMessage) -> None:
        source = message.location["url"]
        if message.type == "error" and "401" not in message.text:
            self.errors.append(f"{message.text} {source}")

    def crash(self, error: object) -> None:
        self.errors.append(str(error))


@asynccontextmanager
async def browser_page(url: str, *, scripts: bool = True) -> AsyncIterator[Page]:
    """A page of Debian's Chromium, which runs scripts or does not; in the end nothing may have failed on it."""
    found = next(path for name in PARTS["chromium"] if (path := shutil.which(name)))
    watch = Watch(url)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        window = ViewportSize(width=1280, height=900)
        page = await browser.new_page(viewport=window, locale="en-US", java_script_enabled=scripts)
        page.set_default_timeout(20_000)
        page.on("request", watch.request)
        page.on("requestfailed", watch.request_failed)
        page.on("response", watch.response)
        page.on("console", watch.console)
        page.on("pageerror", watch.crash)
        yield page
        await browser.close()
    assert watch == Watch(url)


@asynccontextmanager
async def logged_in(url: str, role: Role | None) -> AsyncIterator[Page]:
    """A page after a new operator used the login form."""
    name = await add(role)
    async with browser_page(url) as page:
        await page.goto(f"{url}/admin/")
        await page.fill("input[name=username]", name)
        await page.fill("input[name=password]", PASSWORD)
        await page.click("button:has-text('Login')")
        await expect(page.get_by_text("Welcome to Prior-Auth Fastlane")).to_be_visible()
        yield page


async def open_table(page: Page, table: str) -> None:
    """Follows the sidebar to a table, and waits for its rows."""
    await page.click(f".sidebar a[href='#/{table}/']")
    await expect(page.locator("#result_count")).to_contain_text("Showing")


async def test_tenant_operator_edits_a_case(
    running: Running, clinics: Clinics, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """An operator logs in, sees the own clinic's cases only, opens one, changes and saves it: the
    trail has the one changed column, by that user."""
    north, south = clinics
    case = north.rows["cases"]
    async with logged_in(running.url, Role.admin) as page:
        await page.screenshot(path=tmp_path / "home.png")
        await open_table(page, "cases")
        await expect(page.get_by_text("hash_north")).to_be_visible()
        await expect(page.get_by_text("hash_south")).to_have_count(0)
        assert str(south.id) not in await page.content()
        await page.screenshot(path=tmp_path / "cases.png")
        await page.get_by_role("link", name=str(case)).click()
        await expect(page.locator("input[name=payer]")).to_have_value("Cigna")
        await page.fill("input[name=payer]", "Aetna")
        await page.click("button:has-text('Save')")
        await expect(page.get_by_text("Successfully saved")).to_be_visible()
        await page.screenshot(path=tmp_path / "saved.png", full_page=True)
    query = "SELECT * FROM audit_logs WHERE entity_id = $1 AND action = 'update'"
    (entry,) = await superuser.fetch(query, case)
    changes = json.loads(entry["changes"])
    assert changes["after"].keys() - {"updated_at"} == {"payer"}
    assert (entry["actor"], entry["user_id"]) == ("operator:north-admin", north.users[Role.admin])
    assert "Chrome" in entry["user_agent"]


async def test_tenant_operator_creates_a_ruleset(
    running: Running, clinics: Clinics, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """The form of a new ruleset needs no tenant: the row is the operator's clinic's."""
    async with logged_in(running.url, Role.admin) as page:
        await open_table(page, "rulesets")
        await page.get_by_role("link", name="Add Row").click()
        # The defaults arrive after the form is drawn, and would overwrite what is typed before.
        await expect(page.locator("input[name=created_at]")).not_to_have_value("")
        await page.fill("input[name=payer]", "Humana")
        await page.fill("input[name=procedure]", "72148")
        await page.screenshot(path=tmp_path / "ruleset.png", full_page=True)
        await page.click("button:has-text('Create')")
        await expect(page.get_by_text("Successfully added row")).to_be_visible()
        await page.get_by_role("link", name="Back").click()
        await expect(page.locator("#result_count")).to_contain_text("Showing 2 of 2")
        await expect(page.get_by_text("Humana")).to_be_visible()
    owner = await superuser.fetchval("SELECT tenant_id FROM rulesets WHERE payer = 'Humana'")
    assert owner == clinics[0].id


async def test_platform_operator_sees_both_clinics(running: Running, clinics: Clinics, tmp_path: Path) -> None:
    """An operator of the platform sees the cases of both clinics, and the clinics."""
    async with logged_in(running.url, None) as page:
        await open_table(page, "cases")
        for clinic in clinics:
            await expect(page.get_by_text(f"hash_{clinic.slug}")).to_be_visible()
        await open_table(page, "tenants")
        for clinic in clinics:
            await expect(page.get_by_role("cell", name=clinic.slug, exact=True)).to_be_visible()
        await page.screenshot(path=tmp_path / "tenants.png")
