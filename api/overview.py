"""The admin's page of pictures, for the operator whose transaction it is asked in.

A tenant operator sees the own tenant and has no choice; a platform operator all tenants, or one of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api.crud.models import field_errors
from api.exchange import ASGIApp, Receive, Scope, Send
from api.looks import Listing, leave_look
from api.pictures.page import Frame, picture_page
from api.problems import Problem, not_found
from tenancy.context import Scope as TenantScope
from tenancy.permissions import require
from tenancy.pictures import PicturePage, Pictures
from tenancy.scoping import database
from tenancy.tables import Tenant
from tenancy.transaction import BoundTransaction

PATH = "/admin/overview/"


def is_overview(path: str) -> bool:
    """Whether the path is the page's, with its last slash or without."""
    return path.rstrip("/") == PATH.rstrip("/")


class Overview:
    """Answers at `PATH`, and leaves all else to the admin."""

    def __init__(self, admin: ASGIApp, page: PicturePage) -> None:
        self._admin = admin
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_overview(scope["path"]):
            await self._admin(scope, receive, send)
            return
        answer = await self._answer(Request(scope, receive))
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        """Raises `Forbidden`, `Problem`, and what the database does."""
        if request.method != "GET":
            raise Problem(405, f"{request.method} is not possible here.", headers={"Allow": "GET, HEAD"})
        who = _operator()
        if who.user_role is not None:
            for table, operation in self._page.needs:
                require(who.user_role, table, operation)
        # A form sends its empty fields too.
        pairs = [(name, value) for name, value in request.query_params.multi_items() if value]
        asked = dict(pairs)
        visible = await Tenant.select(Tenant.id, Tenant.slug, Tenant.name).order_by(Tenant.name)
        shown = [tenant for tenant in visible if asked.get("tenant") in (None, tenant["slug"])]
        if "tenant" in asked and not shown:
            raise not_found()
        one = shown[0] if who.tenant_id is not None or "tenant" in asked else None
        choices = {} if who.tenant_id else {tenant["slug"]: tenant["name"] for tenant in visible}
        subject = one["name"] if one else "All tenants"
        frame = Frame(self._page.title, subject, "/admin/", self._page.input, asked, choices)
        try:
            given = self._read(pairs)
        except Problem as problem:
            return _html(replace(frame, error=problem.detail), None, problem.status)
        pictures = await self._page.draw([tenant["id"] for tenant in shown], given)
        leave_look(request.scope, Listing("list", None, one["id"] if one else None))
        return _html(frame, pictures, 200)

    def _read(self, pairs: Sequence[tuple[str, str]]) -> Mapping[str, Any]:
        """What was asked, but for the tenant. Raises `Problem`."""
        given = {name: value for name, value in pairs if name != "tenant"}
        if len(dict(pairs)) < len(pairs):
            raise Problem(400, "Each field can be given once.")
        try:
            return self._page.input.model_validate_strings(given).model_dump(exclude_unset=True)
        except ValidationError as error:
            faults = "; ".join(f"{fault.name[:40]}: {fault.message}" for fault in field_errors(error)[:3])
            raise Problem(400, f"Not valid: {faults}.") from None


def _operator() -> TenantScope:
    transaction = database().current_transaction.get()
    assert isinstance(transaction, BoundTransaction), "outside of a bound request"
    assert transaction.scope is not None
    return transaction.scope


def _html(frame: Frame, pictures: Pictures | None, status: int) -> Response:
    return HTMLResponse(picture_page(frame, pictures), status, {"Cache-Control": "private, no-store"})
