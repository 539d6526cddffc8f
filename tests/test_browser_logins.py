"""Logins in a real browser: an authenticator app is set up and asked for, and a logout is one."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.authenticator_app import App
from tests.conftest import Running
from tests.operators import PASSWORD, add
from tests.test_browser import browser_page, open_table

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.filterwarnings("ignore:If running sessions in production"),
]

WELCOME = "Welcome to Prior-Auth Fastlane"


async def fill_in(page: Page, name: str) -> None:
    await page.fill("input[name=username]", name)
    await page.fill("input[name=password]", PASSWORD)
    await page.click("button:has-text('Login')")


async def log_out(page: Page) -> None:
    """By the menu of the admin's own page, which asks whether one is sure."""
    page.once("dialog", lambda dialog: dialog.accept())
    await page.locator("a", has_text="platform").click()
    await page.click("[data-uitest=logout_button]")
    await expect(page.locator("input[name=password]")).to_be_visible()


async def test_platform_operator_sets_an_authenticator_up(production: Running, tmp_path: Path) -> None:
    """In production an operator of the platform is led to the page that sets an authenticator up, sees the tables
    after that, and is asked for a code at the next login; after a logout the page is the login again."""
    name = await add(None)
    # A browser trusts its own machine as it trusts TLS, and sends the cookies that are for TLS alone.
    async with browser_page(production.url) as page:
        await page.goto(f"{production.url}/admin/")
        await fill_in(page, name)
        await expect(page.get_by_text(WELCOME)).to_be_visible()
        await expect(page.locator(".sidebar a[href='#/cases/']")).to_have_count(0)
        await page.screenshot(path=tmp_path / "first.png")
        await page.get_by_role("link", name=re.compile("authenticator", re.IGNORECASE)).click()
        await page.fill("input[name=password]", PASSWORD)
        await page.click("button:has-text('Set it up')")
        await expect(page.locator("#key")).to_be_visible()
        phone = App.of_page(await page.content())
        await page.screenshot(path=tmp_path / "key.png", full_page=True)
        await page.fill("input[name=code]", phone.code())
        await page.click("button:has-text('Confirm')")
        await page.get_by_role("link", name="Back to the admin").click()
        await open_table(page, "cases")
        await page.screenshot(path=tmp_path / "tables.png")
        await log_out(page)
        await fill_in(page, name)
        await page.fill("input[placeholder='123456']", phone.code())
        await page.screenshot(path=tmp_path / "code.png")
        await page.click("button:has-text('Login')")
        await expect(page.get_by_text(WELCOME)).to_be_visible()
        await open_table(page, "cases")
        await expect(page.get_by_text("hash_south")).to_be_visible()
