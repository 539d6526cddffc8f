"""What the guard finds in documents: keys however written, values in any spelling; and what it lets through."""

from typing import Any

import pytest

from benchmarks.workloads import NEW_CASE
from demo import data
from phi.guard import findings
from phi.masking import masked, shown
from tests.phi.vocabulary import FOLDER

FORBIDDEN_KEYS = (FOLDER / "forbidden_keys.txt").read_text(encoding="utf-8").split()
PLAIN_KEYS = (FOLDER / "plain_keys.txt").read_text(encoding="utf-8").split()
CLEAN_VALUES = (FOLDER / "clean_values.txt").read_text(encoding="utf-8").splitlines()
SPELLINGS = {
    "a Social Security number": ["123\u201145\u20116789", "１２３-４５-６７８９", "123-\u200b45-6789", "ssn123456789"],
    "a phone number": ["617\u00a0555\u00a00123", "(617)\u2009555\u20130123", "001-617-555-0123x44", "+44 20 7946 0123"],
    "an e-mail address": [
        "JANE@EXAMPLE.COM",
        "jane (at) example (dot) com",
        "jané@example.com",
        "<jane@example.co.uk>",
    ],
    "a date of birth": ["DOB:04121961", "born on the 12th of April, 1961", "04/12/1961 (DOB)", "D.O.B. 12.04.61"],
    "a medical record number": ["MRN#0012345", "mrn 00-12-34", "0012345 (MRN)", "Medical Record No.: A-778812"],
    "a member id": [
        "Member ID: XYZ 123 456 789",
        "subscriber#W123456789",
        "policy no 998877-01",
        "Aetna ID W1234 56789",
    ],
    "a person's name": [
        "Pt: ROE, JANE",
        "patient name: jane roe",
        "Mrs. Roe",
        "Patient: Zoë Müller",
        "Patient: 정성호",
    ],
    "a Medicare beneficiary identifier": ["1EG4-TE5-MK73", "1eg4te5mk73", "1EG4 TE5 MK73"],
}


def found(document: Any) -> list[tuple[str, str]]:
    """What is found in a case's document: the way there, and what is said of it."""
    return [
        (".".join(map(str, finding.path[1:])), finding.message)
        for finding in findings("cases", {"extracted_data": document})
    ]


@pytest.mark.parametrize("key", FORBIDDEN_KEYS)
def test_forbidden_key(key: str) -> None:
    """A key that says that it holds what identifies somebody is refused at any depth, whatever its value is."""
    assert len(found({key: "x"})) == 1
    for value in (None, 1, True, {"x": 1}, ["x"]):
        [(path, message)] = found({"a": [{"b": {key: value}}]})
        assert path == f"a.0.b.{key}"
        assert message.startswith("is a key for ")


def test_keys_that_hold_nothing() -> None:
    """What has a name and is no patient, and what only tells of a value, may be a key."""
    assert [key for key in PLAIN_KEYS if found({key: "x"})] == []
    document = {kind: {"name": "x"} for kind in ("drug", "provider", "payer", "facility")}
    assert found(document | {"medications": [{"name": "Humira"}]}) == []
    assert len(found({"patient": {"name": "x"}, "anything": {"name": "x"}})) == 2


@pytest.mark.parametrize(("kind", "texts"), SPELLINGS.items())
def test_spellings(kind: str, texts: list[str]) -> None:
    """Other dashes, digits, blanks and capitals hide nothing; the message names the kind and not the value."""
    for text in texts:
        assert (text, [("a.0", f"looks like {kind} and must not be stored")]) == (text, found({"a": [text]}))


def test_clean_values() -> None:
    """Dates, doses, codes, sizes and scores pass by themselves, and so do the rows of the demo and the benchmark."""
    assert [text for text in CLEAN_VALUES if found({"note": text})] == []
    assert findings("cases", NEW_CASE) == []
    assert findings("cases", data.SEED_CASE) == []
    assert [findings("cases", row) for row in data.cases() if findings("cases", row)] == []
    assert [findings("ingestions", row) for row in data.ingestions() if findings("ingestions", row)] == []
    assert [findings("rulesets", row) for row in data.rulesets() if findings("rulesets", row)] == []
    assert findings("tasks", data.SEED_TASK) == []


def test_what_a_key_says_of_its_text() -> None:
    """A key or a label beside a text counts as words in front of it, for better or worse."""
    assert found({"patient": "Jane Roe", "member": "W12345678"}) == [
        ("patient", "looks like a person's name and must not be stored"),
        ("member", "looks like a member id and must not be stored"),
    ]
    assert [path for path, _ in found({"fields": [{"label": "MRN", "value": "0012345"}]})] == ["fields.0.value"]
    assert found({"snomed": "109838007", "claim": "812345678"}) == []
    assert len(found({"anything": "109838007"})) == 1


def test_a_key_that_is_a_value() -> None:
    """Where the key is the identifier itself, the path has a star."""
    document = {"123-45-6789": 1, "jane@example.com": 2, "Jane Roe": 3, "MRN 0012345": 4}
    assert [path for path, _ in found(document)] == ["*"] * 4
    assert found({"Chief Complaint": "x", "2026-03-14": 1, "Left Knee": 1, "72148": 1, "CPT 72148": 1}) == []
    assert [shown(name) for name in ("status", "field_12345", "Jane Roe", "6175550123")] == [
        "status",
        "field_12345",
        "*",
        "*",
    ]
    assert masked("no field 123-45-6789 or jane@example.com here") == "no field * or * here"


def test_exemptions() -> None:
    """What the documents call for is exempt at its place, and nowhere else."""
    address = {"from": "Jane Roe <jane@example.com>", "subject": "Request"}
    exempt: list[tuple[str, dict[str, Any]]] = [
        ("cases", {"confidence_json": {"overall": 1, "fields": {"member_id": 0.95, "dob": 0.9}}}),
        ("cases", {"authorization_number": "617-555-0123", "member_id": "ABC123456789"}),
        ("cases", {"member_id_hash": "1234567890" * 6 + "abcd"}),
        ("ingestions", {"source_metadata": {"email": address}}),
        ("users", {"email": "jane.roe@example.com", "name": "Mrs. Jane Roe"}),
        ("tenants", {"name": "Patient: Jane Roe Memorial"}),
    ]
    assert [row for table, row in exempt if findings(table, row)] == []
    refused: list[tuple[str, dict[str, Any]]] = [
        ("cases", {"extracted_data": {"fields": {"member_id": 0.95}}}),
        ("cases", {"confidence_json": {"fields": {"123-45-6789": 0.9}}}),
        ("cases", {"member_id_hash": "MRN 0012345"}),
        ("cases", {"metadata_json": {"note": "617-555-0123"}}),
        ("ingestions", {"source_metadata": {"email": {**address, "subject": "MRN 0012345"}}}),
        ("ingestions", {"source_metadata": {"email": {**address, "from": "123-45-6789"}}}),
        ("users", {"name": "SSN 123-45-6789"}),
        ("tasks", {"title": "Call jane.roe@example.com"}),
    ]
    assert [row for table, row in refused if not findings(table, row)] == []


def test_no_more_than_a_hundred() -> None:
    """However much is wrong, a hundred findings are enough."""
    assert len(found({"a": ["123-45-6789"] * 1000})) == 100
