"""The page of pictures in a real browser: without scripts, in any width, in the dark and on paper."""

from datetime import UTC, datetime
from pathlib import Path
from random import Random

import asyncpg
import pytest
from playwright.async_api import expect

from tenancy.tables import Role
from tests.clinics import Clinic
from tests.conftest import Running
from tests.operators import operator
from tests.test_browser import browser_page, logged_in
from tests.year_of_cases import store, year_of_cases

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.filterwarnings("ignore:If running sessions in production"),
]

TOO_WIDE = "document.documentElement.scrollWidth > window.innerWidth"
TABLES = (
    *("Cases by status", "Decided in time", "Cases by payer"),
    *("Age of the open cases", "Time to decision", "Reasons of denials"),
)
PICTURES = (*TABLES, "Time to decision: All payers")


async def test_link_in_the_sidebar(running: Running) -> None:
    """From the admin's sidebar an operator comes to the page of pictures, and from there back."""
    async with logged_in(running.url, Role.admin) as page:
        await page.get_by_role("link", name="Overview").click()
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        await page.get_by_role("link", name="Admin").click()
        await expect(page.get_by_text("Welcome to Prior-Auth Fastlane")).to_be_visible()


async def test_page_without_scripts(
    running: Running, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """Where no script runs the pictures are all there, with a name and a table each; nothing is wider than a small
    phone, the keyboard reaches the form and the tables, and paper has all the numbers."""
    north = clinics[0]
    await store(superuser, north, year_of_cases(Random(3), datetime.now(UTC), 2_000), north.users[Role.admin])
    async with operator(running.url) as client, browser_page(running.url, scripts=False) as page:
        session = client.cookies["id"]
        await page.context.add_cookies([{"name": "id", "value": session, "url": running.url}])
        await page.goto(f"{running.url}/admin/overview/")
        for name in PICTURES:
            await expect(page.get_by_role("img", name=name, exact=False).first).to_be_visible()
        for name in TABLES:
            await expect(page.get_by_role("table", name=name)).to_be_visible()
        await page.screenshot(path=tmp_path / "desktop.png", full_page=True)
        await page.fill("input[name=payer]", "Aetna")
        await page.focus("input[name=until]")
        for _ in range(5):  # Month, day, year and the calendar of the last day, then the payer.
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(f"{running.url}/admin/overview/?from=&until=&payer=Aetna")
        await expect(page.get_by_role("table", name="Cases by payer").locator("tbody tr")).to_have_count(1)
        await page.emulate_media(color_scheme="dark")
        await page.set_viewport_size({"width": 360, "height": 740})
        assert not await page.evaluate(TOO_WIDE)
        await page.screenshot(path=tmp_path / "phone.png", full_page=True)
        await page.emulate_media(media="print")
        for name in TABLES:
            await expect(page.get_by_role("table", name=name).locator("tr").last).to_be_visible()
        await expect(page.get_by_role("button", name="Show")).to_be_hidden()
        assert len(await page.pdf(path=tmp_path / "paper.pdf")) > 10_000
