"""Groups of filters, and what a filter refuses: by name, and with what it would have accepted."""

from urllib.parse import quote

import httpx
import pytest

from api.query.parse import MAX_FILTERS
from api.query.values import MAX_REPEATS, MAX_VALUES
from cases.tables import Ruleset
from tenancy.scoping import tenant
from tests.api.lists import PAYERS, payers, refused

ODD_PAYERS = [
    *("a,b", "x)", "(y", 'say "hi"', '"', '""', "a=b", "or(", "and(a=b)", " lead", "back\\slash", "100%", "a_b"),
    *("{}", "line\nbreak", "__or", "not", "Zoë", "🏥", "&b=1", "+"),
]

# -- The grammar -------------------------------------------------------------


GROUPS = [
    ("__or=(payer__e=Aetna,procedure=p8)", ["Aetna", "Zoë"]),
    ("__or=payer__e=Aetna,procedure=p8", ["Aetna", "Zoë"]),
    ("__and=(is_active=true,procedure__lt=p3)", ["100% Care", "Aetna"]),
    ("__not=(is_active=true)", PAYERS[1::2]),
    ("__not=(is_active=true,procedure__ne=p2)", ["1000 Care", "Aetna", *PAYERS[3::2]]),
    ("__or=(and(is_active=true,payer__starts=a),and(is_active=false,payer__ends=plus))", ["Aetna", "aetna plus"]),
    ("__or=(payer__e=Zoë,not(is_active=false,procedure__ne=p1))", ["100% Care", "1000 Care", *PAYERS[2::2]]),
    ("__not=or(payer=a,payer=o)", []),
    ("__and=(not(not(payer__e=Aetna)))", ["Aetna"]),
    ('__or=(procedure__in="p1,p3",procedure=p5)', ["1000 Care", "aetna plus", "BigxHealth"]),
    ('__or=(payer__in="""100% Care"",Zoë")', ["100% Care", "Zoë"]),
    ("__or=(payer=care,payer=aetna)&is_active=false", ["1000 Care", "aetna plus"]),
    ("__or=(payer=care,payer=aetna)&__or=(procedure=p0,procedure=p2,procedure=p4)", ["100% Care", "Aetna"]),
    ("__or[]=(payer=care)&__or[]=(procedure=p0)", ["100% Care"]),
    ("__or=(payer=care)&__not=(procedure=p0)&__and=(is_active=false)", ["1000 Care"]),
    ("__and=(payer__not_null=true,procedure__is_null=false,procedure=p4)", ["Big_Health"]),
    ("__and=(rules_json.a=1)", []),
    ("__not=(rules_json.a=1,is_active=true)", PAYERS),
]


@pytest.mark.usefixtures("rulesets")
async def test_groups(admin: httpx.AsyncClient) -> None:
    """Groups join, nest and negate, with and without outer parentheses, beside other filters, in lists and counts."""
    for query, found in GROUPS:
        assert (query, await payers(admin, f"__order=procedure&{query}")) == (query, found)
        assert (query, (await admin.get(f"/api/rulesets/count/?{query}")).json()["count"]) == (query, len(found))


async def test_quotes(admin: httpx.AsyncClient) -> None:
    """A quoted value stands for itself whatever is in it, its quotes doubled; a bare one too, unless it ends there."""
    async with tenant("north"):
        await Ruleset.insert(*(Ruleset(payer=payer, procedure="p", rules_json="{}") for payer in ODD_PAYERS))
    for payer in ODD_PAYERS:
        quoted = quote('"' + payer.replace('"', '""') + '"')
        assert await payers(admin, f"__or=(payer__e={quoted},payer__e=nobody)") == [payer]
        assert await payers(admin, f"__and=procedure=p,payer__e={quoted}") == [payer]
        if not payer.startswith('"') and not set(payer) & set(",)"):
            assert await payers(admin, f"__or=(payer__e={quote(payer)},payer__e=nobody)") == [payer]


async def test_names_in_groups(admin: httpx.AsyncClient) -> None:
    """A condition has its operator in its name; a key of a document may hold two underscores as well."""
    async with tenant("north"):
        await Ruleset.delete(force=True)
        documents = ['{"a__b": 1}', '{"a__b": 2}', '{"a": {"in": 3}}']
        rows = [Ruleset(payer=f"{n}", procedure="p", rules_json=text) for n, text in enumerate(documents)]
        await Ruleset.insert(*rows)
    for condition, found in {
        "rules_json.a__b=1": ["0"],
        "rules_json.a__b__gte=1": ["0", "1"],
        "rules_json.a__b__is_null=true": ["2"],
        "rules_json.a.in__in=3": ["2"],
        'rules_json.a__contains="""in"": 3"': ["2"],
    }.items():
        assert await payers(admin, f"__order=payer&__and=({condition})") == found
    for name in ("payer__operator", "payer__match", "payer__like", "nothing", "nothing__gt", "__or", "__order"):
        for group in ("__or=({}=x)", "__not=(payer=a,and({}=x))"):
            detail = await refused(admin, "/api/rulesets/?" + group.format(name))
            assert name.removesuffix("__operator").removesuffix("__match").removesuffix("__gt") in detail


BROKEN = [
    ("", 1, "a condition"),
    ("(", 2, "a condition"),
    ("()", 2, "a condition"),
    ("(payer)", 2, "a condition"),
    ("(=a)", 2, "a condition"),
    ("(payer=a,)", 10, "a condition"),
    ("(payer=a,,payer=b)", 10, "a condition"),
    ("(or())", 5, "a condition"),
    ("(xor(payer=a))", 2, "a condition"),
    ("((payer=a))", 2, "a condition"),
    ('("payer"=a)', 2, "a condition"),
    ("(payer=a", 9, '")"'),
    ("or(payer=a", 11, '")"'),
    ("(and(payer=a)payer=b)", 14, '")"'),
    ("(payer=a))", 10, "the end"),
    ("payer=a)", 8, "the end"),
    ("(payer=a)(payer=b)", 10, "the end"),
    ('(payer="a)', 8, "a closing quote"),
    ('(payer="a"b)', 8, "a closing quote"),
    ('payer="', 7, "a closing quote"),
]


async def test_broken_groups(admin: httpx.AsyncClient) -> None:
    """What is no group is a 400 that names the parameter, the character and what belongs there."""
    for kind in ("__or", "__and", "__not"):
        for text, position, expected in BROKEN:
            detail = await refused(admin, f"/api/rulesets/?{kind}={quote(text)}")
            assert (text, kind in detail, expected in detail) == (text, True, True), detail
            assert f"character {position} " in detail, (text, detail)


async def test_limits(admin: httpx.AsyncClient) -> None:
    """Groups nest five deep, a request holds a hundred filters, in groups or out of them; more is a 400."""

    def nested(depth: int) -> str:
        return "__or=" + "(" + "not(" * (depth - 1) + "payer=a" + ")" * depth

    assert (await admin.get(f"/api/rulesets/?{nested(5)}")).status_code == 200
    assert "5 deep" in await refused(admin, f"/api/rulesets/?{nested(6)}")
    assert "5 deep" in await refused(admin, f"/api/rulesets/?{nested(2000)}")

    def grouped(number: int) -> str:
        return ",".join(f"payer__ne={n}" for n in range(number))

    half = MAX_FILTERS // 2
    beside = "&".join(f"rules_json.key{n}__is_null=true" for n in range(half))
    for query in (
        f"__or=({grouped(MAX_FILTERS)})",
        f"__or={grouped(half)}&__not={grouped(half)}",
        f"__and={grouped(half)}&{beside}",
        f"__and={grouped(half - 10)}&__and={grouped(10)}&{beside}",
    ):
        assert (await admin.get(f"/api/rulesets/?{query}")).status_code == 200
        for more in (f"{query}&procedure=p", f"{query}&__or=(procedure=p)"):
            assert f"{MAX_FILTERS} filters" in await refused(admin, f"/api/rulesets/?{more}")
            assert f"{MAX_FILTERS} filters" in await refused(admin, f"/api/rulesets/count/?{more}")


# -- What a filter refuses ---------------------------------------------------


BAD_OPERATORS: dict[str, dict[str, tuple[str, ...]]] = {
    "cases": {
        "id": ("contains", "any"),
        "created_by": ("starts", "overlaps"),
        "status": ("any", "overlaps"),
        "payer": ("any", "overlaps"),
        "created_at": ("contains", "ends"),
        "diagnosis_codes": ("ne", "lt", "gte", "in", "not_in", "starts", "exact"),
        "extracted_data": ("e", "in", "lt", "contains"),
        "extracted_data.source": ("any", "overlaps"),
    },
    "tasks": {"description": ("any", "overlaps"), "due_date": ("contains", "overlaps")},
    "case_codes": {"confidence": ("contains", "any")},
    "rulesets": {"is_active": ("contains", "any")},
}
ACCEPTED = {
    **dict.fromkeys(("id", "created_by"), ("e, ne, lt, lte, gt, gte, in, not_in, is_null, not_null, exact", "a UUID")),
    **dict.fromkeys(("created_at", "due_date"), ("e, ne, lt, lte, gt, gte, in, not_in", "RFC 3339")),
    "confidence": ("e, ne, lt, lte, gt, gte, in, not_in", "a number"),
    "is_active": ("e, ne, lt, lte, gt, gte, in, not_in", "true or false"),
    "status": ("e, ne, lt, lte, gt, gte, in, not_in", "pending, approved, denied, more_info_needed"),
    "diagnosis_codes": ("e, any, contains, overlaps, is_null, not_null", ""),
    "extracted_data": ("is_null, not_null", "extracted_data.source=email"),
    **dict.fromkeys(("payer", "description", "extracted_data.source"), ("contains, starts, ends, exact", "")),
}


async def test_operators_refused(admin: httpx.AsyncClient) -> None:
    """An operator that a column's type does not have is a 400 naming the column and the operators that it has."""
    for table, columns in BAD_OPERATORS.items():
        for column, operators in columns.items():
            for operator in operators:
                for query in (
                    f"{column}__{operator}=a",
                    f"{column}=a&{column}__operator={operator}",
                    f"__or=({column}__{operator}=a)",
                ):
                    detail = await refused(admin, f"/api/{table}/?{query}")
                    assert f"Parameter {column} accepts the operators " in detail, query
                    assert ACCEPTED[column][0] in detail, query
            assert column in await refused(admin, f"/api/{table}/?{column}=a&{column}__operator=like")
            assert column in await refused(admin, f"/api/{table}/?{column}__operator=e")
            assert column in await refused(admin, f"/api/{table}/?{column}__is_null=maybe")


async def test_values_refused(admin: httpx.AsyncClient) -> None:
    """A value that a column's type does not have is a 400 naming the column and what it takes."""
    for table, columns in BAD_OPERATORS.items():
        for column in columns:
            _, value_named = ACCEPTED[column]
            if not value_named or column == "extracted_data":
                continue
            for operator in ("e", "ne", "lt", "gte", "in", "not_in"):
                for value in ("x", "", "null", "NaN", "%F0%9F%8F%A5", '"a,b"', "9" * 400):
                    detail = await refused(admin, f"/api/{table}/?{column}__{operator}={value}")
                    assert column in detail, (column, operator, value)
                    assert value_named in detail, (column, operator, value)
            assert value_named in await refused(admin, f"/api/{table}/?__not=({column}=x)")
    assert ACCEPTED["extracted_data"][1] in await refused(admin, "/api/cases/?extracted_data=x")


async def test_forms_refused(admin: httpx.AsyncClient) -> None:
    """What no filter can mean is a 400 that names the parameter."""
    path = ".".join("abcdefghijk")
    for query, *words in (
        ("payer__lt=a&payer__lt=b", "payer", "more than once"),
        ("extracted_data.source__lt=a&extracted_data.source__lt=b", "extracted_data.source", "more than once"),
        ("payer__is_null=true&payer__is_null=false", "payer", "more than once"),
        ("payer__is_null=", "payer", "true or false"),
        ("payer=a&payer__operator=e&payer__operator=ne", "operator", "more than once"),
        ("payer=a&payer__match=like", "payer__match", "contains, starts, ends, exact"),
        ("payer=%00", "payer", "NUL"),
        ("payer__in=%00", "payer__in", "NUL"),
        ('payer__in="a', "payer", "commas"),
        ('diagnosis_codes__contains="a"b', "diagnosis_codes", "commas"),
        ("payer__in=" + "a," * MAX_VALUES, "payer", f"more than {MAX_VALUES} values"),
        ("&".join(["payer=a"] * (MAX_REPEATS + 1)), "payer", f"more than {MAX_REPEATS} times"),
        ("payer.source=a", "payer.source", "no JSON document"),
        ("extracted_data..a=1", "extracted_data..a", "a path of 1 to 10 names"),
        (f"extracted_data.{path}=1", "extracted_data.a", "a path of 1 to 10 names"),
        ("nothing=1", "nothing", "member_id_hash, payer, status"),
        ("nothing.a=1", "nothing.a", "member_id_hash, payer, status"),
        ("search=x", "search", "its columns are"),
        ("payer__like=a", "payer__like", "contains"),
        ("__nor=(payer=a)", "__nor", "not a parameter"),
        ("__=1", "__", "not a parameter"),
    ):
        detail = await refused(admin, f"/api/cases/?{query}")
        assert [word for word in words if word not in detail] == [], (query[:80], detail)
