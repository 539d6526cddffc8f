"""What the tests of lists ask for."""

import httpx

from tests.api.problems import assert_problem

PAYERS = ["100% Care", "1000 Care", "Aetna", "aetna plus", "Big_Health", "BigxHealth", "back\\slash", "O'Neil", "Zoë"]


async def payers(client: httpx.AsyncClient, query: str, table: str = "rulesets") -> list[str]:
    """The payers of a list, in its order."""
    answer = await client.get(f"/api/{table}/?{query}")
    assert answer.status_code == 200, answer.text
    return [row["payer"] for row in answer.json()["rows"]]


async def refused(client: httpx.AsyncClient, path: str) -> str:
    """Why a request is a 400."""
    return str(assert_problem(await client.get(path), 400)["detail"])
