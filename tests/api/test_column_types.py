"""A table may have columns of other types than today's: what is sent, asked and paged by follows the type."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from piccolo.columns import UUID, BigInt, Date, Integer, Numeric, Real, SmallInt, Varchar
from piccolo.table import Table
from pydantic import ValidationError

from api.crud.models import create_body
from api.problems import Problem
from api.query.cursor import CursorSeal
from api.query.order import parse_order
from api.query.values import find_column, typed


class Sample(Table):
    """Never created in a database."""

    id = UUID(primary_key=True)
    small = SmallInt(default=0)
    whole = Integer(default=0)
    big = BigInt(default=0)
    real = Real(default=0.0)
    amount = Numeric(digits=(10, 2), default=Decimal(0))
    day = Date(null=True, default=None)
    word = Varchar(default="")


VALUES: dict[str, tuple[str, Any]] = {
    "small": ("-32768", -32768),
    "whole": ("2147483647", 2147483647),
    "big": ("-9223372036854775808", -(2**63)),
    "real": ("-1.5e3", -1500.0),
    "amount": ("10.25", Decimal("10.25")),
    "day": ("2026-01-31", date(2026, 1, 31)),
    "word": ("5", "5"),
}
REFUSED = {
    "small": ("32768", "1.0", "x", ""),
    "whole": ("2147483648", "1_0", "١"),
    "big": ("9223372036854775808",),
    "real": ("nan", "inf", "1e999", "1_0"),
    "amount": ("nan", "x", "1e9999"),
    "day": ("2026-02-30", "today"),
}


def test_filters_compare_with_the_type() -> None:
    """A value is read as its column's type, to its limits; beyond them a 400 says what the column accepts."""
    for name, (text, value) in VALUES.items():
        assert typed(find_column(Sample, name, name), text) == value
    for name, texts in REFUSED.items():
        for text in texts:
            with pytest.raises(Problem, match=f"Parameter {name} accepts") as caught:
                typed(find_column(Sample, name, name), text)
            assert caught.value.status == 400


def test_bodies_hold_the_type() -> None:
    """A body may hold what the column can store, and nothing beyond it."""
    model = create_body(Sample)
    body = '{"small": -32768, "whole": 1, "big": 9223372036854775807, "real": 1.5, "amount": 1.25, "day": "2026-01-31"}'
    assert model.model_validate_json(body).model_dump()["day"] == date(2026, 1, 31)
    for wrong in ('{"small": 32768}', '{"big": 9223372036854775808}', '{"whole": 1.5}', '{"day": "soon"}'):
        with pytest.raises(ValidationError):
            model.model_validate_json(wrong)


def test_cursors_keep_the_value() -> None:
    """What a cursor keeps of a row comes back as it was, null too."""
    terms = parse_order(Sample, [*VALUES, "id"])
    seal, tenant = CursorSeal(b"k" * 32), uuid4()
    for values in ([value for _, value in VALUES.values()], [None] * len(VALUES)):
        row = [*values, uuid4()]
        assert seal.open(seal.seal(tenant, "sample", terms, row), tenant, "sample", terms) == row
