"""No request, however malformed, gets a 500, and each gets the answer that fits it."""

import httpx
import pytest

from tests.api.odd_requests import BODIES, ODD_REQUESTS, PATHS, QUERIES, Odd
from tests.api.problems import assert_problem
from tests.clinics import Clinic


async def ask(client: httpx.AsyncClient, odd: Odd, clinic: Clinic) -> httpx.Response:
    path = odd.path
    for table, row_id in clinic.rows.items():
        path = path.replace(f"{{{table}}}", str(row_id))
    headers = {"Content-Type": odd.content_type} if odd.body is not None else {}
    return await client.request(odd.method, path, content=odd.body, headers=headers)


@pytest.mark.parametrize("requests", [QUERIES, PATHS, BODIES], ids=["queries", "paths", "bodies"])
async def test_odd_requests(admin: httpx.AsyncClient, north: Clinic, requests: list[Odd]) -> None:
    """Every odd request is answered with one of its right statuses, and every refusal is a problem."""
    wrong = {}
    for odd in requests:
        answer = await ask(admin, odd, north)
        if answer.status_code not in odd.statuses:
            wrong[odd.method, odd.path[:80], (odd.body or b"")[:80]] = (answer.status_code, answer.text[:200])
        elif answer.status_code >= 400:
            assert_problem(answer)
    assert wrong == {}


def test_odd_requests_are_many() -> None:
    """At least eighty different odd requests are tried."""
    assert len(set(ODD_REQUESTS)) >= 80
