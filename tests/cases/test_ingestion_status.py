"""How an ingestion moves: step by step, by whatever way, and a failure says why."""

from uuid import UUID

import asyncpg
import pytest

from tests.cases.stored import row_of
from tests.cases.writers import writers
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

STATUSES = ("pending", "processing", "completed", "failed")
# All other moves are refused; staying where it is is none.
LEGAL = {
    ("pending", "processing"),
    ("processing", "completed"),
    ("processing", "failed"),
    ("failed", "pending"),
}
WORDS = {
    "pending": "A pending ingestion becomes processing.",
    "processing": "A processing ingestion becomes completed or failed.",
    "completed": "A completed ingestion is final.",
    "failed": "A failed ingestion becomes pending.",
}
WHY = "The attachment could not be read."


async def load_ingestion(connection: asyncpg.Connection, clinic: Clinic, status: str) -> UUID:
    """An ingestion that was in this status when it came here."""
    ingestion: UUID = await connection.fetchval(
        "INSERT INTO ingestions (tenant_id, source_type, source_metadata, status, error_message) "
        "VALUES ($1, 'email', '{}', $2, $3) RETURNING id",
        clinic.id,
        status,
        WHY if status == "failed" else None,
    )
    return ingestion


async def test_moves(
    running: Running, clinics: tuple[Clinic, Clinic], database: TestDatabase, superuser: asyncpg.Connection
) -> None:
    """Every move by everybody, through API, admin and SQL, is allowed or refused as the table says, whoever it is; a
    failed one that is tried again has no message any more, be one sent or not."""
    north = clinics[0]
    differences = []
    async with writers(running, north, database) as everybody:
        for start in STATUSES:
            for end in STATUSES:
                allowed = start == end or (start, end) in LEGAL
                for writer in everybody:
                    row = await load_ingestion(superuser, north, start)
                    is_told = end == "failed" or (start, end) == ("failed", "pending")
                    body = {"status": end} | ({"error_message": "Another."} if is_told else {})
                    came = await writer.change("ingestions", row, body)
                    stored = await row_of(superuser, "ingestions", row)
                    is_kept = not allowed or writer.who in ("owner", "superuser")
                    message = "Another." if end == "failed" else None
                    expected = (start, WHY if start == "failed" else None) if is_kept else (end, message)
                    if (came, stored["status"], stored["error_message"]) != (
                        "ok" if allowed else "409 status",
                        *expected,
                    ):
                        differences.append((writer.way, writer.who, start, end, came, stored["status"]))
    assert differences == []


async def test_refusals_name_what_is_legal(
    running: Running, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """The 409 says where an ingestion can go from where it is."""
    north = clinics[0]
    for start, words in WORDS.items():
        row = await load_ingestion(superuser, north, start)
        end = next(status for status in STATUSES if status != start and (start, status) not in LEGAL)
        body = {"status": end, "error_message": WHY}
        answer = await running.client.patch(f"/api/ingestions/{row}/", json=body, headers=north.headers())
        assert (answer.status_code, answer.json()["detail"]) == (409, words)


async def test_a_failure_says_why(
    running: Running, clinics: tuple[Clinic, Clinic], database: TestDatabase, superuser: asyncpg.Connection
) -> None:
    """An ingestion is recorded in any status; a failed one has a message that one can see, when it is created, when it
    fails, and as long as it has failed."""
    north = clinics[0]
    async with writers(running, north, database) as everybody:
        for writer in everybody:
            for status in STATUSES[:3]:
                assert await writer.create("ingestions", {"status": status}) == "ok", writer
            processing = await load_ingestion(superuser, north, "processing")
            failed = await load_ingestion(superuser, north, "failed")
            for blank in (None, "", "  \n", "\u200b"):
                body = {"status": "failed", "error_message": blank}
                assert await writer.create("ingestions", body) == "422 error_message", writer
                assert await writer.change("ingestions", processing, body) == "422 error_message", writer
                assert await writer.change("ingestions", failed, {"error_message": blank}) == "422 error_message", (
                    writer
                )
            assert await writer.create("ingestions", {"status": "failed", "error_message": WHY}) == "ok", writer
            assert await writer.change("ingestions", failed, {"error_message": "Another."}) == "ok", writer
            assert await writer.change("ingestions", processing, {"status": "failed"}) == "422 error_message", writer
    rows = [north.body("ingestions"), north.body("ingestions", status="failed")]
    answer = await running.client.post("/api/ingestions/", json=rows, headers=north.headers())
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "1.error_message")


async def test_many_at_once_and_restored(
    running: Running, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """Many are moved or none; a failed one that was deleted comes back as it was; no live one goes back in time
    against its steps."""
    north, client = clinics[0], running.client
    headers = north.headers()
    rows = [await load_ingestion(superuser, north, status) for status in ("processing", "failed")]
    path = f"/api/ingestions/?id__in={','.join(map(str, rows))}"
    answer = await client.patch(path, json={"status": "completed"}, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "status")
    assert (await row_of(superuser, "ingestions", rows[0]))["status"] == "processing"

    created = await client.post("/api/ingestions/", json=north.body("ingestions"), headers=headers)
    one = created.headers["location"]
    for body in ({"status": "processing"}, {"status": "failed", "error_message": WHY}):
        failed = await client.patch(one, json=body, headers=headers)
    assert (await client.post(f"{one}restore/", json={"version": 2}, headers=headers)).status_code == 409
    assert (await client.delete(one, headers=headers)).status_code == 204
    assert (await client.post(f"{one}restore/", headers=headers)).json() == failed.json()
