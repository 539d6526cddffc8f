"""Documents that are right, and wrong ones with the way to each fault."""

from typing import Any

Faults = dict[str, list[tuple[dict[str, Any], list[str]]]]

COLUMNS = {
    "confidence_json": "cases",
    "extracted_data": "cases",
    "source_metadata": "ingestions",
    "rules_json": "rulesets",
}
TIME = "2026-02-28T23:59:59.123+05:30"
NO_TIMES = ["2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00", "2026-01-01", f" {TIME}"]
RIGHT: dict[str, list[dict[str, Any]]] = {
    "confidence_json": [
        {},
        {"overall": 1, "fields": {"payer": 0, "member_id": 0.95, "": 1.0}, "model": {"name": ["any", None, 7]}},
        {"fields": {}},
    ],
    "extracted_data": [{}, {"source": "pdf", "extracted_at": TIME, "pages": [1, {"text": None}]}],
    "source_metadata": [
        {},
        {"email": {}},
        {"email": {"from": "a@b.c", "subject": "", "received_at": TIME, "cc": [1]}, "mailbox": None},
        {"email": {"received_at": "2024-02-29t00:00:00z"}},
    ],
    "rules_json": [
        {},
        {"requirements": [], "documentation": ["Notes", " \t" + "x" * 2000 + "\n"], "notes": "", "more": [1, 2.5]},
        {
            "typical_turnaround": "3 days",
            "clock": {
                "standard": {"hours": 8784},
                "urgent": {"business_days": 1},
                "holidays": ["2024-02-29", "2026-12-25"],
                "pause_for_information": True,
            },
        },
        {"requirements": ["x"] * 200, "clock": {"standard": {"business_days": 366}, "holidays": ["0001-01-01"] * 500}},
        {"clock": {}},
    ],
}
WRONG: Faults = {
    "confidence_json": [
        ({"overall": True}, ["overall"]),
        ({"overall": "0.9"}, ["overall"]),
        ({"overall": None}, ["overall"]),
        ({"overall": [0.5]}, ["overall"]),
        ({"overall": -0.01, "fields": {"payer": 1.01, "a/b": 0.5}}, ["overall", "fields/payer"]),
        ({"fields": {"a": 0.5, "m~n": False}}, ["fields/m~0n"]),
        ({"fields": [0.5]}, ["fields"]),
        ({"fields": {"payer": [0.5]}}, ["fields/payer"]),
        ({"fields": {str(number): 2 for number in range(20_000)}}, ["fields"]),
    ],
    "extracted_data": [({"source": 1, "extracted_at": None}, ["source", "extracted_at"])],
    "source_metadata": [
        ({"email": []}, ["email"]),
        ({"email": {"from": 1, "subject": None}}, ["email/from", "email/subject"]),
        *(
            ({"email": {"received_at": wrong}}, ["email/received_at"])
            for wrong in (*NO_TIMES, 0)
        ),
        ({"pdf": {}}, ["pdf"]),
        ({"email": {}, "pdf": None}, ["pdf"]),
    ],
    "rules_json": [
        ({"requirements": "x", "documentation": {}}, ["requirements", "documentation"]),
        ({"requirements": ["x", "", 1, " \t\r\n", None]}, [f"requirements/{number}" for number in (1, 2, 3, 4)]),
        ({"documentation": ["x" * 2001]}, ["documentation/0"]),
        ({"requirements": ["x"] * 201}, ["requirements"]),
        ({"typical_turnaround": 3, "notes": None}, ["typical_turnaround", "notes"]),
        ({"clock": []}, ["clock"]),
        ({"clock": {"standard": 72, "urgent": {}}}, ["clock/standard", "clock/urgent"]),
        ({"clock": {"standard": {"hours": 1, "business_days": 1}}}, ["clock/standard"]),
        *(({"clock": {"standard": {"hours": hours}}}, ["clock/standard/hours"]) for hours in (0, 8785, 1.5, "1")),
        ({"clock": {"standard": {"hours": 1}, "urgent": {"hours": True}}}, ["clock/urgent/hours"]),
        ({"clock": {"standard": {"business_days": 367}}}, ["clock/standard/business_days"]),
        ({"clock": {"standard": {"days": 1}}}, ["clock/standard/days"]),
        ({"clock": {"holidays": ["2026-01-01", "2026-02-30", "x", 1]}}, [f"clock/holidays/{n}" for n in (1, 2, 3)]),
        ({"clock": {"holidays": ["2026-01-01"] * 501}}, ["clock/holidays"]),
        ({"clock": {"pause_for_information": 1, "pauses": True}}, ["clock/pause_for_information", "clock/pauses"]),
        ({"clock": {str(number): 2 for number in range(20_000)}}, ["clock"]),
    ],
}  # fmt: skip
PDFS: list[tuple[dict[str, Any], list[str]]] = [
    ({"filename": 1, "pages": -1, "size_bytes": 1.5}, ["filename", "pages", "size_bytes"]),
    ({"pages": True, "size_bytes": "3"}, ["pages", "size_bytes"]),
    ({"pages": 3.0}, ["pages"]),
]
