"""Documents: what is named is right wherever it is there, by every way of writing; the path leads to what is wrong."""

import json
from typing import Any

import asyncpg
import httpx
import pytest

from tests.api.problems import assert_problem, fields
from tests.cases.samples import COLUMNS, PDFS, RIGHT, WRONG
from tests.cases.writing import BELOW, WAYS, Refused, writer
from tests.clinics import Clinic

# The stock login recommends HTTPS at each login; tests speak plain HTTP.
pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

Clinics = tuple[Clinic, Clinic]


@pytest.mark.parametrize("column", COLUMNS)
async def test_right_documents_are_kept(
    client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection, column: str
) -> None:
    """By every way, as they were sent: whole numbers stay whole, further keys stay, and so does a partial document."""
    async with writer(client, superuser, clinics[0]) as to:
        for way in WAYS:
            for document in RIGHT[column]:
                row = await to.write(way, COLUMNS[column], **{column: document})
                assert isinstance(row, dict), (way, row)
                assert json.dumps(row[column], sort_keys=True) == json.dumps(document, sort_keys=True), way
                assert (await to.stored(COLUMNS[column], row["id"]))[column] == document


@pytest.mark.parametrize("column", COLUMNS)
async def test_wrong_documents_are_refused(
    client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection, column: str
) -> None:
    """By every way: over the API with the path to each fault, below it with the column; nothing is stored."""
    async with writer(client, superuser, clinics[0]) as to:
        before = await superuser.fetch(f"SELECT * FROM {COLUMNS[column]} ORDER BY id")
        for document, faults in WRONG[column]:
            expected = sorted(f"{column}.{fault}".replace("/", ".").replace("~0", "~") for fault in faults)
            for way in WAYS:
                refused = await to.write(way, COLUMNS[column], **{column: document})
                assert isinstance(refused, Refused), (way, document, refused)
                prefix = "0." if way in ("list", "csv") else ""
                said = [column] if way in BELOW else [prefix + field for field in expected]
                assert sorted(refused.fields) == (sorted(said)), (way, document)
            headers, path = clinics[0].headers(), f"/api/{COLUMNS[column]}/{clinics[0].rows[COLUMNS[column]]}/"
            problem = assert_problem(await client.patch(path, headers=headers, json={column: document}), 422)
            assert {error["pointer"] for error in problem["errors"]} == {f"/{column}/{fault}" for fault in faults}
        assert await superuser.fetch(f"SELECT * FROM {COLUMNS[column]} ORDER BY id") == before


async def test_a_document_is_of_its_source(
    client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection
) -> None:
    """An email has no pdf and a pdf no email; type and document changed alone are compared with what is stored."""
    path, headers = f"/api/ingestions/{clinics[0].rows['ingestions']}/", clinics[0].headers()
    pdf: dict[str, Any] = {
        "source_type": "pdf",
        "source_metadata": {"pdf": {"filename": "a", "pages": 0, "size_bytes": 7}},
    }
    async with writer(client, superuser, clinics[0]) as to:
        for way in WAYS:
            for document, faults in PDFS:
                refused = await to.write(way, "ingestions", source_type="pdf", source_metadata={"pdf": document})
                assert isinstance(refused, Refused), (way, document)
                if way == "patch":
                    assert sorted(refused.fields) == [f"source_metadata.pdf.{fault}" for fault in sorted(faults)]
            mixed = await to.write(way, "ingestions", source_type="pdf", source_metadata={"email": {}})
            assert isinstance(mixed, Refused), way
            assert mixed.fields[0].endswith("source_metadata" if way in BELOW else "source_metadata.email")
            kept = await to.write(way, "ingestions", **pdf)
            assert isinstance(kept, dict), (way, kept)
            assert kept["source_metadata"] == pdf["source_metadata"]
        for way in ("patch", "filter", "admin's patch", "sql update"):
            alone = await to.write(way, "ingestions", source_type="email")
            assert isinstance(alone, Refused), way
            assert alone.fields == ["source_type"], way
            alone = await to.write(way, "ingestions", source_metadata={"email": {}})
            assert isinstance(alone, Refused), way
            assert alone.fields == ["source_metadata" if way in BELOW else "source_metadata.email"], way
    assert (await client.get(path, headers=headers)).json()["source_metadata"] == pdf["source_metadata"]
    switched = await client.patch(
        path, headers=headers, json={"source_type": "email", "source_metadata": {"email": {}}}
    )
    assert switched.status_code == 200


async def test_an_admin_s_text_is_a_document(client: httpx.AsyncClient, clinics: Clinics) -> None:
    """What is no object, no document at all or deeper than it may be is refused as before, at the column."""
    path, headers = f"/api/rulesets/{clinics[0].rows['rulesets']}/", clinics[0].headers()
    value: Any
    for value in ("{}", [], None, 1, {"notes": "\x00"}):
        named = fields(await client.patch(path, headers=headers, json={"rules_json": value}))
        assert named == ["rules_json.notes" if isinstance(value, dict) else "rules_json"]
