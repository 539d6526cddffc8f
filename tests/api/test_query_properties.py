"""Two thousand random questions, each answered as Python answers it over the same rows."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import piccolo_conf
from tenancy.databases import Databases
from tests import cluster
from tests.api.combinations import Question, questions
from tests.api.evaluation import Evaluation, Row, read_json
from tests.api.seeded_rows import CODES, INGESTIONS, KINDS, ROWS, TEXTS, USERS, key
from tests.clinics import Clinic
from tests.conftest import serve

pytestmark = pytest.mark.asyncio(loop_scope="module")

random_questions = settings(
    max_examples=500,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Lists:
    """A clinic's lists, and all that is in them; no dataclass, of which Hypothesis would print every row."""

    def __init__(self, client: httpx.AsyncClient, rows: Mapping[str, list[Row]], ranks: Mapping[str, int]) -> None:
        self.client = client
        self.rows = rows
        self.ranks = ranks

    async def check(self, question: Question) -> None:
        """Asks, and compares the answer with the evaluation."""
        evaluation = Evaluation(KINDS[question.table], self.ranks)
        found = evaluation.select(self.rows[question.table], question.items, question.terms)
        expected = [row["id"] for row in question.expected(found)]
        answers = await self._ask(question)
        assert [row for answer in answers for row in answer["rows"]] == [{"id": row_id} for row_id in expected]
        assert {answer["total"] for answer in answers} == {len(found)}
        if question.page is None:
            assert all(len(answer["rows"]) == question.page_size for answer in answers[:-1])

    async def _ask(self, question: Question) -> list[dict[str, Any]]:
        pairs = (*question.pairs, ("__visible_fields", "id"), ("__total", "true"))
        answers: list[dict[str, Any]] = []
        while not answers or answers[-1].get("next_cursor"):
            if answers:
                pairs = (*(pair for pair in pairs if pair[0] != "__cursor"), ("__cursor", answers[-1]["next_cursor"]))
            answer = await self.client.get(f"/api/{question.table}/", params=pairs)
            assert answer.status_code == 200, answer.text
            answers.append(answer.json())
        return answers


async def fill(superuser: asyncpg.Connection, clinic: Clinic) -> None:
    """Replaces the clinic's rows by those of the combinations, whose codes and documents are as odd as older rows'."""
    users: list[dict[str, Any]] = [{"id": user, "email": f"{user}@north.com", "role": "staff"} for user in USERS]
    ingestions: list[dict[str, Any]] = [
        {"id": ingestion, "source_type": "pdf", "source_metadata": {}, "status": "pending"} for ingestion in INGESTIONS
    ]
    # Any text is looked for in any column.
    await superuser.execute("ALTER TABLE cases DROP CONSTRAINT cases_member_id_hash_check")
    ruled = [table for table in ROWS if table != "tasks"]
    for table in ruled:
        await superuser.execute(f"ALTER TABLE {table} DISABLE TRIGGER b_values")
    for table in ROWS:
        await superuser.execute(f"DELETE FROM {table} WHERE tenant_id = $1", clinic.id)
    for table, rows in {"users": users, "ingestions": ingestions, **ROWS}.items():
        names = ", ".join(["tenant_id", *rows[0]])
        await superuser.execute(
            f"INSERT INTO {table} ({names}) SELECT {names} FROM jsonb_populate_recordset(NULL::{table}, $1::jsonb)",
            json.dumps([{"tenant_id": str(clinic.id), **row} for row in rows]),
        )
    for table in ruled:
        await superuser.execute(f"ALTER TABLE {table} ENABLE TRIGGER b_values")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lists(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lists]:
    """A clinic with the rows, beside another one, behind one app."""
    database = await cluster.create_database(cluster.WITH_CLINICS)
    settings = database.settings(tmp_path_factory.mktemp("query"))
    piccolo_conf.DB.databases = Databases(settings)
    north, _ = cluster.clinics(settings)
    superuser = await asyncpg.connect(database.superuser)
    await fill(superuser, north)
    texts = {*TEXTS, *CODES, *(value for rows in ROWS.values() for row in rows for value in row.values() if _is(value))}
    sorted_texts = await superuser.fetch("SELECT x FROM unnest($1::text[]) AS x ORDER BY x", list(texts))
    async for running in serve(settings):
        running.client.headers.update(north.headers())
        rows = {}
        for table in ROWS:
            answer = await running.client.get(f"/api/{table}/?__page_size=1000")
            rows[table] = read_json(answer.text)["rows"]
        yield Lists(running.client, rows, {row["x"]: rank for rank, row in enumerate(sorted_texts)})
    await superuser.close()
    await cluster.drop_database(database)


def _is(value: Any) -> bool:
    return isinstance(value, str)


async def test_rows(lists: Lists) -> None:
    """The lists hold the rows that were put in, to the digit, many alike and many with nulls."""
    for table, rows in ROWS.items():
        stored = {row["id"]: row for row in lists.rows[table]}
        assert stored.keys() == {key(table, number) for number in range(len(rows))}
        for row in rows:
            times = {column for column in row if column.endswith(("_at", "_date"))}
            assert {column: stored[row["id"]][column] for column in row if column not in times} == {
                column: row[column] for column in row if column not in times
            }


# Those with more types of columns more often.
tables = st.sampled_from(["cases", "cases", "cases", "tasks", "case_codes", "rulesets"])


@random_questions
@given(tables.flatmap(lambda table: questions(table, most_filters=1, most_terms=0, is_paged=False)))
async def test_one_filter(lists: Lists, question: Question) -> None:
    """Every operator on every type of column finds the rows that it says, in all its spellings."""
    await lists.check(question)


@random_questions
@given(tables.flatmap(lambda table: questions(table, most_filters=4, most_terms=1, is_paged=False)))
async def test_filters_and_groups(lists: Lists, question: Question) -> None:
    """Filters and nested groups together leave the rows for which all of them hold."""
    await lists.check(question)


@random_questions
@given(tables.flatmap(lambda table: questions(table, most_filters=0, most_terms=4, is_paged=True)))
async def test_orders(lists: Lists, question: Question) -> None:
    """Rows come in the order asked for, nulls where asked for, page by page and cursor by cursor."""
    await lists.check(question)


@random_questions
@given(tables.flatmap(lambda table: questions(table, most_filters=3, most_terms=3, is_paged=True)))
async def test_questions(lists: Lists, question: Question) -> None:
    """Filters, groups, orders and pages do not get into each other's way."""
    await lists.check(question)
