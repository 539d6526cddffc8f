"""CSV: what was written is read again, no cell is a formula, and whatever arrives is read or refused with reasons."""

import csv
import io
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from piccolo.columns import Column

from api.crud.tabular import MAX_ROWS, csv_line, header_line, read_csv, row_line
from api.problems import Problem
from cases.tables import Case, CaseCode, Ruleset, Task

COLUMNS: dict[str, Column] = {
    column._meta.name: column
    for column in (
        Case.payer,  # Varchar
        Case.status,  # Varchar with choices
        Case.diagnosis_codes,  # Array
        Case.extracted_data,  # JSONB
        CaseCode.case_id,  # ForeignKey
        CaseCode.confidence,  # DoublePrecision
        Task.id,  # UUID
        Task.description,  # Text
        Task.due_date,  # Timestamptz
        Ruleset.is_active,  # Boolean
    )
}
LIMIT = 16 * 1024 * 1024
SECONDS = 3.0  # It takes half of one at most; a machine that runs all tests at once is slower.

JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
FORMULA_SIGNS = "=+-@＝＋－＠"
ODD = "'\"`“‘ \t\r\n\x0b\x85\xa0\u200b\u2060\ufeff,;" + FORMULA_SIGNS
SEEDED = settings(derandomize=True, deadline=None, max_examples=150, database=None)

FORMULAS = [
    *("=1", "+1", "-1", "@a", "＝1", "＋1", "－1", "＠a"),
    *(" =1", "\ufeff=1", "\u200b=1", "\x01=1", "”=1", '"=1', "' =1"),
    *("\ta", "\ra", "\na", "'=1", "''\ta"),
]
NO_CSV = [
    *(b"", b"\xef\xbb\xbf", b"\r\n", b",,\r\n1,2,3"),
    *(b"payer\r\n\xff", "payer\r\na".encode("utf-16"), b"payer\na\x00"),
    *(b'payer\n"a', b'payer\na"b', b'payer\n"a"b', b'payer\n"a""', b"payer\ra", b'"payer\na', b'payer\na,b,"c'),
]

characters = st.one_of(st.sampled_from(ODD), st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
texts = st.text(characters, max_size=12)
numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**64 - 1))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
BY_COLUMN: dict[str, st.SearchStrategy[Any]] = {
    "diagnosis_codes": st.lists(texts, max_size=4),
    "extracted_data": st.dictionaries(texts, values, max_size=3),
    "confidence": numbers,
    "is_active": st.booleans(),
}
rows = st.fixed_dictionaries({name: st.none() | BY_COLUMN.get(name, texts) for name in COLUMNS})


def refused(body: str | bytes, *names: str) -> Problem:
    """The problem that the body is refused with, where these columns exist."""
    columns = {name: COLUMNS[name] for name in names or COLUMNS}
    with pytest.raises(Problem) as caught:
        read_csv(body if isinstance(body, bytes) else body.encode(), columns)
    return caught.value


def answer(body: bytes) -> list[dict[str, Any]] | Problem:
    """The rows of the body, or what it is refused with."""
    try:
        return read_csv(body, COLUMNS)
    except Problem as problem:
        return problem


def fields(problem: Problem) -> list[tuple[str, str]]:
    return [(error.as_json()["field"], error.message) for error in problem.errors]


# -- Properties --------------------------------------------------------------


@SEEDED
@given(st.lists(rows, min_size=1, max_size=3), st.permutations(list(COLUMNS)))
def test_rows_round_trip(written: list[dict[str, Any]], names: list[str]) -> None:
    """Any rows, in any order of columns, are read as they were written; what is null is left out."""
    body = header_line(names) + b"".join(row_line(names, row) for row in written)
    read = read_csv(body, COLUMNS)
    assert read == [{name: row[name] for name in names if row[name] is not None} for row in written]
    assert [type(row.get("confidence")) for row in read] == [type(row["confidence"]) for row in written]


@SEEDED
@given(st.lists(values, min_size=2, max_size=6))
def test_no_cell_is_a_formula(cells: list[Any]) -> None:
    """Another CSV reader finds each value in a cell of its own, and no cell that a spreadsheet calculates."""
    [read] = csv.reader(io.StringIO(csv_line(cells).decode(), newline=""), strict=True)
    assert len(read) == len(cells)
    for value, cell in zip(cells, read, strict=True):
        if isinstance(value, str):
            assert cell in (value, f"'{value}")
        assert not cell.startswith(("\t", "\r"))
        visible = cell.strip().strip('"`“‘\u200b\u2060\ufeff').strip()
        assert not visible.startswith(tuple(FORMULA_SIGNS)) or JSON_NUMBER.fullmatch(cell)


@SEEDED
@given(st.binary(max_size=60), st.text("payer,\"\r\n\x00'[{=1e9", max_size=60), st.booleans())
def test_noise_is_read_or_refused(raw: bytes, near: str, with_header: bool) -> None:
    """Whatever bytes arrive, the answer is rows or a problem of status 400 or 422."""
    header = header_line(list(COLUMNS)[:3]) if with_header else b""
    for body in (header + raw, header + near.encode()):
        found = answer(body)
        assert found.status in (400, 422) if isinstance(found, Problem) else found


# -- Writing -----------------------------------------------------------------


def test_values_as_cells() -> None:
    """Null is nothing, the empty text is quoted, lists and objects are compact JSON, lines end in CRLF."""
    assert csv_line([None, "", True, False, 1, -0.5, "a b"]) == b',"",true,false,1,-0.5,a b\r\n'
    assert csv_line([["a", 1], {"b": None}]) == b'"[""a"",1]","{""b"":null}"\r\n'
    assert csv_line(["a,b", 'a"b', "a\nb", "ë"]) == '"a,b","a""b","a\nb",ë\r\n'.encode()
    assert row_line(["b", "a"], {"a": 1, "c": 2}) == b",1\r\n"


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_get_an_apostrophe(text: str) -> None:
    """A text that a spreadsheet would calculate, or that looks protected, gets one apostrophe, which reading undoes."""
    [[cell]] = csv.reader(io.StringIO(csv_line([text]).decode(), newline=""))
    assert cell == f"'{text}"
    assert read_csv(b"payer\r\n" + csv_line([text]), COLUMNS) == [{"payer": text}]


def test_other_texts_stay() -> None:
    """Signs within a text, apostrophes before harmless text and telling numbers from text change nothing."""
    for text in ("a=1", "1-2", "'tis", "''", "O'Neil", "a@b.c", "(-1)", "#=1"):
        assert csv_line([text]) == text.encode() + b"\r\n"
    assert csv_line(["-1", -1]) == b"'-1,-1\r\n"


# -- Reading -----------------------------------------------------------------


def test_cells_as_values() -> None:
    """A cell becomes what the JSON body would hold; LF, a BOM and a missing last line end are accepted."""
    body = '\ufeffpayer,is_active,confidence,diagnosis_codes,extracted_data\n"",TRUE,-1.5e3,[],{}\nx,,1,"[1]",null'
    assert read_csv(body.encode(), COLUMNS) == [
        {"payer": "", "is_active": True, "confidence": -1500.0, "diagnosis_codes": [], "extracted_data": {}},
        {"payer": "x", "confidence": 1, "diagnosis_codes": [1], "extracted_data": None},
    ]


@pytest.mark.parametrize("body", NO_CSV)
def test_what_is_not_csv(body: bytes) -> None:
    """What is no UTF-8, no header, an unbalanced quote, a NUL or a lone CR is a 400."""
    assert refused(body).status == 400


def test_a_malformed_line_is_named() -> None:
    """The detail of the 400 says at which line the CSV is broken."""
    assert "line 3" in refused('payer\na\n"b').detail


def test_headers_are_columns() -> None:
    """All names that are no column, and all that are there twice, are reported at once; long ones are shortened."""
    problem = refused(f"payer,nope,,payer,{'x' * 99}\n1,2,3,4,5")
    assert problem.status == 422
    assert fields(problem) == [
        ("column", '"payer" is named 2 times'),
        ("column", '"nope" is not a column that can be set'),
        ("column", '"" is not a column that can be set'),
        ("column", f'"{"x" * 63}…" is not a column that can be set'),
    ]
    assert refused("," * 1000 + "payer\n").detail == "The header names more than 1,000 columns."


def test_cells_that_do_not_fit() -> None:
    """Each cell that its column can't hold is reported by row and column, without its value."""
    names = "is_active,confidence,diagnosis_codes,extracted_data"
    problem = refused(f'{names}\ntrue,1,[],{{}}\nyes,NaN,"a,b",secret\n"","","",""\n1,true,[1e999],{10**19 * 2}\n')
    assert problem.status == 422
    assert [field for field, _ in fields(problem)] == [
        f"{row}.{name}" for row in (1, 2, 3) for name in names.split(",")
    ]
    assert "secret" not in str(fields(problem))
    assert fields(refused("confidence\n1 \n0x1\n'-1\n01\n.5\n1e999\n")) == [
        *((f"{row}.confidence", "must be a number as in JSON") for row in range(5)),
        ("5.confidence", "is not JSON: number is infinity when parsed as double at line 1, column 1"),
    ]


def test_long_integers_are_not_rounded() -> None:
    """An integer beyond 64 bits is refused as in a JSON body; within a text, or as a float, it is no integer."""
    for number in (2**64, -(2**63) - 1, 10**30):
        for row in (row_line(["a"], {"a": f'{{"a":[{number}]}}'}), f"{number}\r\n".encode()):
            name = "extracted_data" if b"a" in row else "confidence"
            [(field, message)] = fields(refused(header_line([name]) + row))
            assert (field, "64 bits" in message) == (f"0.{name}", True)
    kept = {"a": [2**64 - 1, -(2**63), 1e30, "9" * 99]}
    assert read_csv(b"extracted_data\n" + csv_line([kept]), COLUMNS) == [{"extracted_data": kept}]


def test_deep_documents() -> None:
    """A document that is nested beyond reason is a 422."""
    for depth in (2000, 100_000):
        [(field, _)] = fields(refused(b"extracted_data\n" + csv_line(["[" * depth + "1" * 19 + "]" * depth])))
        assert field == "0.extracted_data"


def test_rows_have_the_cells_of_the_header() -> None:
    """A row with more or fewer cells than the header is reported, blank lines too; other rows are still checked."""
    assert fields(refused('payer,is_active\n\na\na,true,"x\ny",z\na,true\na,no\n')) == [
        ("0", "has 1 cells where the header has 2"),
        ("1", "has 1 cells where the header has 2"),
        ("2", "has more than 2 cells where the header has 2"),
        ("4.is_active", "must be true or false"),
    ]


def test_number_of_rows() -> None:
    """There is at least one row, and at most a thousand."""
    assert refused("payer\r\n").status == refused("payer").status == 422
    assert len(read_csv(b"payer\n" + b"\n" * MAX_ROWS, COLUMNS)) == MAX_ROWS
    problem = refused("payer\n" + "a\n" * (MAX_ROWS + 1))
    assert (problem.status, problem.detail) == (422, "The CSV holds more than 1,000 rows.")


# -- Size --------------------------------------------------------------------


def test_a_large_cell_is_read() -> None:
    """A cell may be as long as a body may: no limit of a CSV reader applies."""
    text = 'a"' * (LIMIT // 3)
    assert read_csv(b"description\n" + csv_line([text]), COLUMNS) == [{"description": text}]


@pytest.mark.parametrize(
    "unit",
    [
        "\n",
        ",",
        '"',
        '""',
        'a""',
        "a\n",
        '"\n"',
        '","',
        "'",
        " ",
        "\t",
        "1",
        "x,",
        '"a,\n",',
        '"",\n',
        "\\",
        '"[""1"",',
        "é",
    ],
)
def test_no_body_is_slow(unit: str) -> None:
    """Sixteen mebibytes of anything are read or refused in about a second."""
    body = unit.encode() * (LIMIT // len(unit.encode()))
    for header in ("", "payer\n", 'payer,extracted_data\n"', 'extracted_data\n"{""a"":' + "1" * 19 + ","):
        began = time.perf_counter()
        found = answer(header.encode() + body)
        assert time.perf_counter() - began < SECONDS
        assert len(found.detail if isinstance(found, Problem) else found) < 100_000
