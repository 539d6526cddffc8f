"""What the stock CRUD endpoints get wrong about values, and ours do not: JSON, the word null, secrets."""

import httpx
import pytest
from piccolo.columns import JSON, JSONB, UUID, Secret, Timestamptz, Varchar
from piccolo.table import Table

from api.crud.models import output_model
from api.openapi.schemas import table_schemas
from api.problems import Problem
from api.query.parse import parse_query
from api.query.shape import plain, row_json
from tenancy.catalog import served_tables
from tests.clinics import Clinic

JSON_COLUMNS = [
    (table._meta.tablename, column._meta.name)
    for table in served_tables()
    for column in table._meta.columns
    if isinstance(column, JSON | JSONB)
]


# -- JSON and text -----------------------------------------------------------


@pytest.mark.parametrize(("table", "name"), JSON_COLUMNS)
async def test_json_is_json(admin: httpx.AsyncClient, north: Clinic, table: str, name: str) -> None:
    """Stock sends JSON columns as strings that hold JSON; here each is an object, in every answer that shows it."""
    path = f"/api/{table}/{north.rows[table]}/"
    answers = [await admin.get(path), await admin.get(f"{path}?__visible_fields={name}")]
    lists = [f"/api/{table}/", f"/api/{table}/?__visible_fields={name}", f"/api/{table}/?__cursor="]
    rows = [answer.json() for answer in answers]
    rows += [row for list_path in lists for row in (await admin.get(list_path)).json()["rows"]]
    if table in ("ingestions", "cases", "rulesets"):
        document = {"a": {"b": ["null", 1, None]}}
        for answer in (
            await admin.post(f"/api/{table}/", json=north.body(table, **{name: document})),
            await admin.put(path, json=north.body(table, **{name: document})),
            await admin.patch(path, json={name: document}),
        ):
            assert answer.json()[name] == document, answer.text
    assert rows
    assert {type(row[name]) for row in rows} <= {dict, type(None)}
    if name != "metadata_json":
        assert all(row[name] is not None for row in rows)


async def test_json_in_related_rows(admin: httpx.AsyncClient, north: Clinic) -> None:
    """JSON columns are objects in related rows too."""
    case = (await admin.get(f"/api/cases/{north.rows['cases']}/?__include=ingestion")).json()
    assert case["ingestion"]["source_metadata"] == {}
    task = (await admin.get("/api/tasks/?__visible_fields=id,case.confidence_json")).json()["rows"][0]
    assert task["case"]["confidence_json"] == {"overall": 1}


def test_json_is_documented_as_json() -> None:
    """Stock's models break the making of an OpenAPI document, and type JSON as text; here JSON columns are objects."""
    for table in served_tables():
        schemas = table_schemas(table, frozenset({"create", "update"}))
        shown = {name for name, schema in schemas.items() if name.startswith(table.__name__)}
        assert f"{table.__name__}Out" in shown
        for name in shown:
            for column, schema in schemas[name].get("properties", {}).items():
                if (table._meta.tablename, column) in JSON_COLUMNS:
                    kinds = {str(one.get("type", one.get("$ref"))) for one in schema.get("anyOf", [schema])}
                    assert kinds - {"null"}, (name, column, schema)
                    assert not {"string"} & kinds, (name, column, schema)
                    for one in schema.get("anyOf", [schema]):
                        target = schemas[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
                        assert target["type"] in ("object", "null"), (name, column, target)


@pytest.mark.parametrize(("table", "name"), [("ingestions", "error_message"), ("users", "name")])
async def test_the_word_null_is_a_word(admin: httpx.AsyncClient, north: Clinic, table: str, name: str) -> None:
    """Stock stores NULL for the text "null"; here it stays the text, however it is written, and is found as such."""
    path = f"/api/{table}/{north.rows[table]}/"
    body = (await admin.get(path)).json() | {name: "null"}
    for answer in (
        await admin.post(f"/api/{table}/", json=north.body(table, **{name: "null"})),
        await admin.put(path, json=body),
        await admin.patch(path, json={name: "null"}),
        await admin.patch(f"/api/{table}/?id={north.rows[table]}", json={name: "null"}),
    ):
        row = answer.json().get("rows", [answer.json()])[0]
        assert (await admin.get(f"/api/{table}/{row['id']}/")).json()[name] == row[name] == "null"
    assert len((await admin.get(f"/api/{table}/?{name}=null&{name}__match=exact")).json()["rows"]) == 2
    nulls = (await admin.get(f"/api/{table}/?{name}__operator=is_null")).json()["rows"]
    assert "null" not in {row[name] for row in nulls}


# -- Secrets -----------------------------------------------------------------


class Vault(Table, tags=["internal"]):
    """A table that nobody serves, with a column that nobody may see."""

    id = UUID(primary_key=True)
    label = Varchar()
    token = Secret()  # type: ignore[no-untyped-call]  # It has no annotations.
    created_at = Timestamptz()


ASKING = ("__order=token", "__order=-token.nullslast", "__visible_fields=id,token", "token=a", "token__gte=a")


@pytest.mark.parametrize("query", [*ASKING, "token__operator=is_null", "token__match=starts&token=a", "__or=(token=a)"])
def test_secrets_are_not_asked_for(query: str) -> None:
    """Stock orders by a secret column, which tells its values bit by bit; here no parameter may name one."""
    with pytest.raises(Problem) as refusal:
        parse_query(Vault, httpx.QueryParams(query).multi_items())
    assert refusal.value.status == 400
    assert "its columns are id, label, created_at" in refusal.value.detail


def test_secrets_are_not_shown() -> None:
    """A row without a choice of columns has no secret one, in the answer or in its documentation."""
    assert "token" not in row_json(plain(Vault), "vault")
    assert "label" in row_json(plain(Vault), "vault")
    assert output_model(Vault).model_fields.keys() == {"id", "label", "created_at"}
