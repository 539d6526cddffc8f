"""What a problem must look like (RFC 9457 and the contract)."""

import re
from typing import Any

import httpx

# What SQL, Python and the libraries say of themselves when they fail.
LEAKS = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE|FROM|WHERE|VALUES)\b|Traceback|asyncpg|piccolo|[Pp]ydantic|[Ll]itestar|"
    r"[Ss]tarlette|\.py\b|\bconstraint\b|_fkey|_key\b|_check\b|row-level|relation \"|0x[0-9a-f]{6}"
)


def assert_problem(answer: httpx.Response, status: int | None = None) -> dict[str, Any]:
    """Asserts that the answer is a whole problem without leaks; returns its body."""
    if status is not None:
        assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body.keys() - {"errors"} == {"type", "title", "status", "detail", "instance", "request_id"}
    assert body["status"] == answer.status_code
    # A star stands for what the guard takes for an identifier.
    instance = re.escape(body["instance"].rstrip("/")).replace(r"\*", "[^/]*")
    assert re.fullmatch(instance, answer.request.url.path.rstrip("/")), body["instance"]
    assert body["request_id"] == answer.headers["x-request-id"]
    assert all(isinstance(body[name], str) and body[name] for name in ("type", "title", "detail"))
    assert not LEAKS.search(body["title"] + body["detail"] + str(body.get("errors", ""))), body
    for error in body.get("errors", []):
        assert error.keys() == {"field", "pointer", "message"}
        assert error["message"]
        assert error["pointer"] == "" or error["pointer"].startswith("/")
    return body


def fields(answer: httpx.Response, status: int = 422) -> list[str]:
    """The fields that a problem blames, in order."""
    return sorted({error["field"] for error in assert_problem(answer, status).get("errors", [])})
