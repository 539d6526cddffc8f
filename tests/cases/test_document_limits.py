"""What a document may hold: Python and PostgreSQL agree on it, and it is described."""

import json
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from cases.documents import DOCUMENTS
from tenancy.schema_document import describe_schema
from tests.cases.generated import generated


def noisy(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly right, and now and then anything."""
    odd: list[Any] = [
        None,
        True,
        0,
        1,
        -1,
        1.5,
        3.0,
        "",
        " ",
        "0.5",
        [],
        {},
        [[]],
        {"a": 1},
        "2026-02-29",
        "2026-02-29T00:00:00Z",
    ]
    return st.one_of(right, right, right, right, st.sampled_from(odd))


def keyed(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object that may have these keys, and sometimes another."""
    more: st.SearchStrategy[dict[str, int]] = st.sampled_from([{}, {}, {}, {"more": 1}])
    return noisy(st.tuples(st.fixed_dictionaries({}, optional=fields), more).map(lambda t: t[0] | t[1]))


SCORES = noisy(st.floats(0, 1))
TEXTS = noisy(st.text(" \ta\u00a0💉", max_size=3))
DAYS = noisy(
    st.one_of(st.dates().map(str), st.from_regex(r"20(00|23|24)-(02-(28|29|30)|04-3[01]|1[23]-01)", fullmatch=True))
)
MOMENTS = noisy(
    st.from_regex(
        r"20(23|24)-02-(28|29)[Tt ][012][0-9]:[0-6]0:00(\.[0-9]{1,7})?([Zz]|[+-][012][0-9]:?[0-6]0)?", fullmatch=True
    )
)
TERMS = keyed(hours=noisy(st.integers(1, 8785))) | keyed(business_days=noisy(st.integers(0, 366)))
DEMANDS = noisy(st.lists(TEXTS, max_size=3))
STRATEGIES = {
    "cases.confidence_json": keyed(
        overall=SCORES, fields=noisy(st.dictionaries(st.text("ab", max_size=2), SCORES, max_size=3))
    ),
    "cases.extracted_data": keyed(source=TEXTS, extracted_at=TEXTS),
    "ingestions.source_metadata": keyed(
        email=noisy(
            st.fixed_dictionaries({}, optional={"from": TEXTS, "subject": TEXTS, "received_at": MOMENTS, "cc": TEXTS})
        ),
        pdf=keyed(filename=TEXTS, pages=noisy(st.integers(0, 99)), size_bytes=noisy(st.integers(-1, 2**62))),
    ),
    "rulesets.rules_json": keyed(
        requirements=DEMANDS,
        documentation=DEMANDS,
        notes=TEXTS,
        typical_turnaround=TEXTS,
        clock=keyed(
            standard=TERMS,
            urgent=TERMS,
            holidays=noisy(st.lists(DAYS, max_size=3)),
            pause_for_information=noisy(st.booleans()),
        ),
    ),
}  # fmt: skip
FUNCTIONS = {
    "cases.confidence_json": "CASE WHEN cases.is_confidence_1(d) THEN NULL ELSE '' END",
    "cases.extracted_data": "CASE WHEN cases.is_extracted_data_1(d) THEN NULL ELSE '' END",
    "ingestions.source_metadata": "CASE WHEN cases.is_source_metadata_1(d) THEN NULL ELSE '' END",
    "rulesets.rules_json": "cases.fault_of_rules_1(d)",
}


def faults_of(adapter: TypeAdapter[Any], document: dict[str, Any]) -> list[str]:
    """The ways to what Python finds wrong."""
    try:
        adapter.validate_python(document)
    except ValidationError as error:
        return [".".join(map(str, item["loc"])) for item in error.errors()]
    return []


@pytest.mark.parametrize("name", STRATEGIES)
async def test_python_and_postgresql_agree(superuser: asyncpg.Connection, name: str) -> None:
    """On two thousand documents, many of them right; the fault that PostgreSQL names is one that Python does."""
    documents = [found for found in generated(STRATEGIES[name], 2000) if isinstance(found, dict)]
    query = f"SELECT {FUNCTIONS[name]} AS fault FROM unnest($1::jsonb[]) WITH ORDINALITY AS t (d, place) ORDER BY place"
    rows = await superuser.fetch(query, [json.dumps(document) for document in documents])
    adapter: TypeAdapter[Any] = TypeAdapter(DOCUMENTS[name])
    paths = [faults_of(adapter, document) for document in documents]
    for document, row, faults in zip(documents, rows, paths, strict=True):
        assert (row["fault"] is None) == (not faults), (document, row, faults)
        assert not faults or any(path.startswith(row["fault"]) for path in faults), (document, row, faults)
    assert 150 < paths.count([]) < len(documents) - 150


# -- Described ---------------------------------------------------------------


async def test_the_limits_are_described(client: httpx.AsyncClient, superuser: asyncpg.Connection) -> None:
    """OpenAPI and the description of the schema say what a document may hold; a body must be so, an older row may not
    be."""
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    scores, rules = schemas["ConfidenceScores"]["properties"], schemas["RulesDocument"]["properties"]
    assert scores["overall"] == {"type": "number", "minimum": 0, "maximum": 1}
    assert scores["fields"]["additionalProperties"] == {"type": "number", "minimum": 0, "maximum": 1}
    clock = rules["clock"]
    assert clock["additionalProperties"] is False
    assert clock["properties"]["standard"].items() >= {"minProperties": 1, "maxProperties": 1}.items()
    assert clock["properties"]["standard"]["properties"]["hours"] == {"type": "integer", "minimum": 1, "maximum": 8784}
    assert rules["requirements"].items() >= {"type": "array", "maxItems": 200}.items()
    assert "$ref" not in json.dumps([scores, rules])
    reference = {"$ref": "#/components/schemas/ConfidenceScores"}
    kinds = {
        name: schemas[name]["properties"]["confidence_json"]["anyOf"] for name in ("CaseIn", "CasePatch", "CaseOut")
    }
    assert kinds["CaseIn"] == kinds["CasePatch"] == [reference]
    assert kinds["CaseOut"] == [reference, {"type": "object", "additionalProperties": True}]
    assert schemas["CaseIn"]["properties"]["diagnosis_codes"]["items"]["pattern"].startswith("^[ ")
    text = await describe_schema(superuser)
    assert "| `fields` | object of number |  | By field name. Each from 0 to 1. |" in text
    assert "| `clock.standard.hours` | integer |  | From 1 to 8784. |" in text
    assert "| `requirements` | array of string |  | At most 200 items. Each at least 1 long. |" in text
