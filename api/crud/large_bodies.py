"""Keeps the service answering while a large body is read through: what takes long for one client holds up no other."""

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from starlette.requests import Request

from api.exchange import body_of

# Below it a thread would cost more than it spares.
LARGE = 32 * 1024
Given = ParamSpec("Given")
Result = TypeVar("Result")


async def apart(request: Request, check: Callable[Given, Result], *values: Given.args, **named: Given.kwargs) -> Result:
    """What `check` returns, or raises, in a thread of its own where the request's body is large."""
    if len(body_of(request.scope)) < LARGE:
        return check(*values, **named)
    found: Any = await asyncio.to_thread(check, *values, **named)
    return found  # type: ignore[no-any-return]
