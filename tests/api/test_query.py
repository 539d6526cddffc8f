"""The filters of lists: what each type of column can be asked, and what it refuses."""

import httpx
import pytest

from tests.api.lists import PAYERS, payers, refused
from tests.clinics import Clinic

# -- Text --------------------------------------------------------------------


TEXT = [
    ("payer=aetna", ["Aetna", "aetna plus"]),
    ("payer=AETNA&payer__match=contains", ["Aetna", "aetna plus"]),
    ("payer=aetna&payer__match=exact", []),
    ("payer=Aetna&payer__match=exact", ["Aetna"]),
    ("payer=care&payer__match=ends", ["100% Care", "1000 Care"]),
    ("payer=100&payer__match=starts", ["100% Care", "1000 Care"]),
    ("payer=100%25", ["100% Care"]),
    ("payer=100%25&payer__match=starts", ["100% Care"]),
    ("payer=%25+care&payer__match=ends", ["100% Care"]),
    ("payer=big_", ["Big_Health"]),
    ("payer=_health&payer__match=ends", ["Big_Health"]),
    ("payer=%25", ["100% Care"]),
    ("payer=_", ["Big_Health"]),
    ("payer=%5C", ["back\\slash"]),
    ("payer=o%27neil", ["O'Neil"]),
    ("payer=zo%C3%AB", ["Zoë"]),
    ("payer=null", []),
    ("payer=Aetna&payer=Zo", ["Aetna", "aetna plus", "Zoë"]),
    ("payer=Aetna&procedure=p3&payer=Zo", ["aetna plus"]),
    ("payer=Aetna&payer=O%27Neil&payer__match=exact", ["Aetna", "O'Neil"]),
    ("payer[]=Aetna&payer[]=O%27Neil&payer__match=exact", ["Aetna", "O'Neil"]),
    ("payer=Aetna&payer__operator=e", ["Aetna"]),
    ("payer=Aetna&payer__operator=ne&payer=O%27Neil&is_active=true", [*PAYERS[0:2:2], *PAYERS[4::2]]),
    ("payer__operator=is_null", []),
    ("payer__operator=not_null&is_active=false", PAYERS[1::2]),
]


@pytest.mark.usefixtures("rulesets")
async def test_text_filters(admin: httpx.AsyncClient) -> None:
    """Text matches as asked, `%`, `_` and backslash stand for themselves, and repeated values widen."""
    for query, found in TEXT:
        assert (query, await payers(admin, f"__order=procedure&{query}")) == (query, found)
        count = await admin.get(f"/api/rulesets/count/?{query}")
        assert (query, count.json()["count"]) == (query, len(found))


# -- Other types -------------------------------------------------------------


@pytest.mark.usefixtures("rulesets")
async def test_booleans(admin: httpx.AsyncClient) -> None:
    """Booleans compare in any of their spellings; anything else is a 400 naming the column."""
    for value in ("true", "True", "t", "1"):
        assert await payers(admin, f"__order=procedure&is_active={value}") == PAYERS[::2]
        assert await payers(admin, f"__order=procedure&is_active={value}&is_active__operator=ne") == PAYERS[1::2]
    for bad in ("yes", "2", "", "null", "true,false"):
        assert "is_active" in await refused(admin, f"/api/rulesets/?is_active={bad}")


@pytest.mark.usefixtures("rulesets")
async def test_times(admin: httpx.AsyncClient) -> None:
    """Times compare to the microsecond, in any zone, with every operator."""
    rows = (await admin.get("/api/rulesets/?__order=created_at")).json()["rows"]
    middle = rows[4]["created_at"]
    for operator, expected in {
        "e": PAYERS[4:5],
        "ne": PAYERS[:4] + PAYERS[5:],
        "lt": PAYERS[:4],
        "lte": PAYERS[:5],
        "gt": PAYERS[5:],
        "gte": PAYERS[4:],
    }.items():
        query = f"__order=created_at&created_at__operator={operator}&created_at="
        for spelling in (middle, middle.replace("Z", "%2B00:00"), middle.replace("Z", "+00:00")):
            assert await payers(admin, query + spelling) == expected
    assert await payers(admin, "created_at=2020-01-01&created_at__operator=lt") == []
    for bad in ("today", "2026-13-01", "2026-01-01T99:00:00Z", "", "1767225600.5"):
        assert "created_at" in await refused(admin, f"/api/rulesets/?created_at={bad}")


async def test_ids_and_references(admin: httpx.AsyncClient, north: Clinic, south: Clinic) -> None:
    """UUID columns compare with a UUID in any spelling, and find nothing of another clinic."""
    case = str(north.rows["cases"])
    for spelling in (case, case.upper(), case.replace("-", "")):
        for query in (f"case_id={spelling}", f"case_id__operator=e&case_id={spelling}"):
            assert len((await admin.get(f"/api/tasks/?{query}")).json()["rows"]) == 1
    assert (await admin.get(f"/api/tasks/?case_id={case}&case_id={south.rows['cases']}")).json()["rows"]
    assert not (await admin.get(f"/api/tasks/?case_id__operator=ne&case_id={case}")).json()["rows"]
    assert not (await admin.get(f"/api/tasks/?case_id={south.rows['cases']}")).json()["rows"]
    assert "case_id" in await refused(admin, "/api/tasks/?case_id=1")


async def test_choices(admin: httpx.AsyncClient, north: Clinic) -> None:
    """A closed set compares exactly; a value outside it is a 400 that names those inside."""
    for status in ("approved", "denied", "more_info_needed"):
        row = (await admin.post("/api/cases/", json=north.body("cases", payer=status))).json()
        reason = "Not covered." if status == "denied" else None
        await admin.patch(f"/api/cases/{row['id']}/", json={"status": status, "denial_reason": reason})
    assert await payers(admin, "status=approved", "cases") == ["approved"]
    assert sorted(await payers(admin, "status=approved&status=denied", "cases")) == ["approved", "denied"]
    assert sorted(await payers(admin, "status__operator=ne&status=pending&status=denied", "cases")) == [
        "approved",
        "more_info_needed",
    ]
    assert "more_info_needed" in await refused(admin, "/api/cases/?status=info")
    for bad in ("Pending", "", "pend"):
        await refused(admin, f"/api/cases/?status={bad}")


async def test_arrays(admin: httpx.AsyncClient, north: Clinic) -> None:
    """An array column is asked for an element; several values must all be in it."""
    for payer, codes in {"both": ["A11", "B22"], "one": ["A11"], "none": []}.items():
        body = north.body("cases", payer=payer, diagnosis_codes=codes)
        assert (await admin.post("/api/cases/", json=body)).status_code == 201
    assert sorted(await payers(admin, "diagnosis_codes=A11", "cases")) == ["both", "one"]
    assert await payers(admin, "diagnosis_codes=A11&diagnosis_codes=B22", "cases") == ["both"]
    assert await payers(admin, "diagnosis_codes[]=B22", "cases") == ["both"]
    assert await payers(admin, "diagnosis_codes=A", "cases") == []
    await refused(admin, "/api/cases/?diagnosis_codes__operator=gt&diagnosis_codes=A11")


async def test_nulls(admin: httpx.AsyncClient, north: Clinic) -> None:
    """Null is asked for with an operator, never with the word; it needs no value."""
    await admin.post("/api/cases/", json=north.body("cases", payer="bare"))
    assert await payers(admin, "ingestion_id__operator=is_null", "cases") == ["bare"]
    assert await payers(admin, "ingestion_id__operator=not_null", "cases") == ["Cigna"]
    assert len(await payers(admin, "metadata_json__operator=is_null", "cases")) == 2
    await refused(admin, "/api/cases/?ingestion_id=null")
    await refused(admin, "/api/cases/?ingestion_id__operator=e")


async def test_numbers(admin: httpx.AsyncClient, north: Clinic) -> None:
    """Numbers compare as numbers; what is none is a 400."""
    for confidence in (0.25, 0.5, 10.0):
        await admin.post("/api/case_codes/", json=north.body("case_codes", confidence=confidence))

    async def found(query: str) -> list[float]:
        rows = (await admin.get(f"/api/case_codes/?__order=confidence&{query}")).json()["rows"]
        return [row["confidence"] for row in rows]

    assert await found("confidence__operator=gt&confidence=0.25") == [0.5, 10.0]
    assert await found("confidence__operator=lte&confidence=5e-1") == [0.25, 0.5]
    assert await found("confidence=10") == [10.0]
    for bad in ("a", "", "1,5", "--1"):
        assert "confidence" in await refused(admin, f"/api/case_codes/?confidence={bad}")
