"""Operators of the admin GUI, and a browser's way of talking to it over HTTP."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx

from tenancy.commands import add_operator
from tenancy.operators import Operator
from tenancy.tables import Role
from tests.clients import http_client

PASSWORD = "a long enough password"


async def add(role: Role | None = Role.admin) -> str:
    """The name of a new operator: one who acts as north's user of that role, or the platform's."""
    name = f"north-{role.value}" if role else "platform"
    slug, email = ("north", f"{role.value}@north.com") if role else ("", "")
    with few_rounds():
        assert await add_operator(name, PASSWORD, slug, email)
    return name


@contextmanager
def few_rounds() -> Iterator[None]:
    """Passwords that are set meanwhile are hashed in no time, and so are those of a login: the stored hash says how
    often."""
    usual = Operator._pbkdf2_iteration_count
    Operator._pbkdf2_iteration_count = 1_000
    try:
        yield
    finally:
        Operator._pbkdf2_iteration_count = usual


@asynccontextmanager
async def visitor(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the CSRF cookie, as a browser has it after it opened the first page."""
    async with http_client(f"{url}/admin") as client:
        assert (await client.get("/")).status_code == 200
        client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
        yield client


async def log_in(client: httpx.AsyncClient, username: str, password: str = PASSWORD) -> httpx.Response:
    """What the login form sends."""
    return await client.post("/public/login/", json={"username": username, "password": password})


@asynccontextmanager
async def operator(url: str, role: Role | None = Role.admin) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a session of a new operator, see `add`."""
    name = await add(role)
    async with visitor(url) as client:
        answer = await log_in(client, name)
        assert answer.status_code == 200, answer.text
        yield client


async def fill_form(client: httpx.AsyncClient, table: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the page sends to create a row: defaults from the server, JSON as text, and an empty
    text for a reference that nobody chose."""
    defaults = (await client.get(f"/api/tables/{table}/new/")).json()
    del defaults["id"]
    texts = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in body.items()}
    form = defaults | texts
    return {
        name: "" if value is None and name in ("tenant_id", "created_by") else value for name, value in form.items()
    }
