"""Rows with many ties and nulls and odd texts, the same in every run."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

from cases.choices import CaseStatus, CodeType, Priority, TaskStatus
from tests.api.evaluation import Kind

TEXTS = [
    *("", "Aetna", "aetna plus", "AETNA", "100% Care", "1000 Care", "a_b", "axb", "%", "back\\slash", "\\"),
    *("O'Neil", 'say "hi"', '"', "a, b", "(x)", "x)", "or(a=b)", "Zoë", "日本", "🏥", "null", "a=b&c", "+1 2"),
    *(" lead", "line\nbreak", "{}", "{0}", "$1", "--", "é"),
]
CODES = ["A1", "B2", "a1", "", "a, b", '"', "%", "Zoë", "{}", "NULL"]
CHOICES: Mapping[str, Mapping[str, type[Enum]]] = {
    "cases": {"status": CaseStatus, "priority": Priority},
    "tasks": {"status": TaskStatus, "priority": Priority},
    "case_codes": {"code_type": CodeType},
}
KINDS: dict[str, dict[str, Kind]] = {
    "cases": {
        **dict.fromkeys(("id", "tenant_id", "ingestion_id", "created_by"), Kind.key),
        **dict.fromkeys(("member_id_hash", "payer"), Kind.text),
        **dict.fromkeys(("status", "priority"), Kind.choice),
        "diagnosis_codes": Kind.array,
        **dict.fromkeys(("confidence_json", "extracted_data", "metadata_json"), Kind.document),
        **dict.fromkeys(("created_at", "updated_at"), Kind.time),
    },
    "tasks": {
        **dict.fromkeys(("id", "tenant_id", "case_id", "assigned_to"), Kind.key),
        **dict.fromkeys(("title", "description"), Kind.text),
        **dict.fromkeys(("status", "priority"), Kind.choice),
        **dict.fromkeys(("due_date", "completed_at", "created_at", "updated_at"), Kind.time),
    },
    "case_codes": {
        **dict.fromkeys(("id", "tenant_id", "case_id"), Kind.key),
        "code_type": Kind.choice,
        **dict.fromkeys(("code", "description"), Kind.text),
        "confidence": Kind.number,
        "created_at": Kind.time,
    },
    "rulesets": {
        **dict.fromkeys(("id", "tenant_id"), Kind.key),
        **dict.fromkeys(("payer", "procedure"), Kind.text),
        "rules_json": Kind.document,
        "is_active": Kind.flag,
        **dict.fromkeys(("created_at", "updated_at"), Kind.time),
    },
}
SCALARS: list[Any] = [
    *TEXTS[:16],
    *(None, True, False, 5, 5.0, "5", 0.25, "0.25", -3, 0, 100, 9007199254740993, 9007199254740992, "true", "é", "z"),
]
SMALL = {"case_codes": 40, "rulesets": 20}


def _document(pick: random.Random) -> dict[str, Any]:
    values: dict[str, Any] = {
        "source": pick.choice(SCALARS),
        "score": pick.choice([*SCALARS, *range(-5, 12)]),
        "list": pick.choice([[], ["x"], [1, "two", None], [{"k": "v"}, 5]]),
        "member": pick.choice([{"name": pick.choice(SCALARS)}, {"name": "Zoë", "n": [1, True]}, None, "member"]),
        "odd__key": pick.choice(SCALARS),
        "a b": pick.choice(SCALARS),
    }
    return {key: value for key, value in values.items() if pick.random() < 0.7}


def _value(pick: random.Random, table: str, column: str, kind: Kind) -> Any:
    if column in ("description", "due_date", "completed_at", "confidence", "metadata_json") and pick.random() < 0.4:
        return None
    match kind:
        case Kind.text:
            return pick.choice(TEXTS)[: 20 if column == "code" else None]
        case Kind.choice:
            return pick.choice([choice.value for choice in CHOICES[table][column]])
        case Kind.time:
            micros = pick.choice([0, 0, 1, 500000])
            return (datetime(2026, 1, pick.randint(1, 6), tzinfo=UTC) + timedelta(microseconds=micros)).isoformat()
        case Kind.number:
            return pick.choice([0.25, 0.5, 0.0, -1.5, 1e15, 10.0])
        case Kind.flag:
            return pick.random() < 0.5
        case Kind.array:
            return pick.sample(CODES, pick.randint(0, 4))
    return _document(pick)


def key(table: str, number: int) -> str:
    """Keys that do not sort as they were made."""
    return str(UUID(bytes=random.Random(f"{table} {number}").randbytes(16), version=4))


USERS = [key("users", number) for number in range(4)]
INGESTIONS = [key("ingestions", number) for number in range(4)]


def _rows(table: str) -> list[dict[str, Any]]:
    pick = random.Random(table)
    references: dict[str, list[str | None]] = {
        "ingestion_id": [None, *INGESTIONS],
        "created_by": [*USERS],
        "assigned_to": [None, *USERS],
        "case_id": [key("cases", number) for number in range(12)],
    }
    return [
        {
            column: pick.choice(references[column]) if column in references else _value(pick, table, column, kind)
            for column, kind in KINDS[table].items()
            if column != "tenant_id"
        }
        | {"id": key(table, number)}
        for number in range(SMALL.get(table, 60))
    ]


ROWS: dict[str, list[dict[str, Any]]] = {table: _rows(table) for table in KINDS}
