"""The admin's page on which an operator sets up an authenticator app, or does without it again.

It takes the place of piccolo-api's own page, which loads fonts from another host, counts an authenticator before its
first code was right, and shows its key as a picture only.
"""

from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from api.exchange import Receive, Scope, Send
from api.pages import page
from api.problems import Problem
from tenancy.authenticators import Authenticators
from tenancy.operators import Operator

SETUP = "/api/mfa-setup/"
_TITLE = "Authenticator app"
_FIRST_FACTOR = '<p><label>Password <input type="password" name="password" required autocomplete="off"></label></p>'
_SECOND_FACTOR = '<p><label>Code <input name="code" required autocomplete="one-time-code" maxlength="20"></label></p>'
_BACK = '<p><a href="../../">Back to the admin</a></p>'
# What the admin's page asks for before it shows anything.
_UNTIL_ENROLLED: dict[str, Any] = {
    "/api/tables/": [],
    "/api/tables/grouped/": {"grouped": {}, "ungrouped": []},
    "/api/forms/": [],
    "/api/forms/grouped/": {"grouped": {}, "ungrouped": []},
    "/api/links/": {"Set up an authenticator app": f".{SETUP}"},
}


class AuthenticatorPage:
    """An ASGI app, behind the admin's login and its protection of forms."""

    def __init__(self, authenticators: Authenticators) -> None:
        self._authenticators = authenticators

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        match request.method:
            case "GET":
                answer = await self._shown(request)
            case "POST":
                answer = await self._done(request)
            case _:
                raise Problem(405, "Not possible here.", headers={"Allow": "GET, HEAD, POST"})
        answer.headers["cache-control"] = "no-store"
        await answer(scope, receive, send)

    async def _shown(self, request: Request, fault: str = "", status: int = 200) -> Response:
        if await self._authenticators.is_user_enrolled(request.user.user):
            text = "<p>Your login asks for a code of your authenticator app.</p>"
            form = _form(request, "remove", _FIRST_FACTOR + _SECOND_FACTOR, "Do without it")
        else:
            text = "<p>With an authenticator app on your phone, your password alone opens nothing.</p>"
            form = _form(request, "begin", _FIRST_FACTOR, "Set it up")
        return _page(f"{_fault(fault)}{text}{form}{_BACK}", status)

    async def _done(self, request: Request) -> Response:
        # The protection of forms has read the body where the token was in it.
        form = request.scope.get("form") or await request.form()
        operator = request.user.user
        action, password, code = (str(form.get(name, "")) for name in ("action", "password", "code"))
        is_enrolled = await self._authenticators.is_user_enrolled(operator)
        if action == "confirm" and not is_enrolled:
            if await self._authenticators.confirm(operator, code):
                return _page(f"<p>From now on your login asks for a code.</p>{_BACK}")
            return _page(f"{_fault('This is not the code of this moment.')}{_confirmation(request)}{_BACK}", 422)
        if action not in ("begin", "remove") or is_enrolled is not (action == "remove"):
            return await self._shown(request, "Nothing was changed.", 422)
        if await Operator.login(operator.username, password) is None:
            return await self._shown(request, "The password is not right.", 422)
        if action == "begin":
            return _page(_instructions(*await self._authenticators.begin(operator)) + _confirmation(request))
        if not await self._authenticators.authenticate_user(operator, code):
            return await self._shown(request, "This is not the code of this moment.", 422)
        await self._authenticators.delete_registration(operator)
        return await self._shown(request)


def serve_setup(admin: Any, setup: AuthenticatorPage) -> None:
    """Puts the page in the place of the stock one, below the same login."""
    private = next(route.app.app for route in admin.routes if route.path == "/api")
    stock = next(route for route in private.routes if route.path == SETUP.removeprefix("/api").rstrip("/"))
    stock.app = setup


def until_enrolled(path: str) -> Response | None:
    """For an operator who needs an authenticator and has none: no answer of ours where the admin may answer.

    Raises `Problem` 403 for all that has to wait.
    """
    if path.startswith((SETUP, "/api/user/", "/api/change-password/")):
        return None
    if path in _UNTIL_ENROLLED:
        return JSONResponse(_UNTIL_ENROLLED[path])
    raise Problem(403, "An operator of the platform sets up an authenticator app first.")


def _page(body: str, status: int = 200) -> Response:
    return HTMLResponse(page(_TITLE, f"<h1>{_TITLE}</h1>{body}"), status)


def _fault(text: str) -> str:
    return f'<p role="alert"><strong>{escape(text)}</strong></p>' if text else ""


def _form(request: Request, action: str, fields: str, button: str) -> str:
    token = escape(request.scope.get("csrftoken", ""))
    return (
        f'<form method="post"><input type="hidden" name="action" value="{action}">'
        f'<input type="hidden" name="csrftoken" value="{token}">{fields}<button>{button}</button></form>'
    )


def _confirmation(request: Request) -> str:
    return _form(request, "confirm", _SECOND_FACTOR, "Confirm")


def _instructions(key: str, link: str, codes: list[str]) -> str:
    groups = " ".join(key[at : at + 4] for at in range(0, len(key), 4))
    listed = "".join(f"<li><code>{code}</code></li>" for code in codes)
    return (
        f'<p>On your phone, <a href="{escape(link)}">open this link</a>; or enter this key in the app, as one that is '
        f'based on the time:</p><p><code id="key">{groups}</code></p>'
        "<p>Keep these recovery codes: each opens the login once, in place of a code. They are not shown again.</p>"
        f'<ul id="recovery">{listed}</ul><p>Then enter the code that the app shows.</p>'
    )
