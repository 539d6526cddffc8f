"""CSV over HTTP: lists that a spreadsheet opens, and rows that come back from one."""

import csv
import io
from typing import Any

import asyncpg
import httpx
import pytest

from tenancy.tables import Role
from tests.api.lists import PAYERS
from tests.api.problems import assert_problem, fields
from tests.clinics import Clinic

CSV = {"Accept": "text/csv"}
SENT = {"Content-Type": "text/csv"}
FORMULAS = ["=1+1", "+1", "-1", "@x", "\t=1", "'=1", ' "=1', "＝1", "\r\n-1"]
PLAIN = ["1", "a=b", "'a", "a,b", 'a"b', "a\r\nb", " a ", "Zoë 東京", "null"]
RULESETS = """
INSERT INTO rulesets (id, tenant_id, payer, procedure, rules_json)
SELECT gen_random_uuid(), $1, 'Payer ' || n % 5, to_char(n, 'FM00000'), '{}' FROM generate_series(1, $2::int) AS n
"""


def rows_of(answer: httpx.Response) -> list[dict[str, str]]:
    """The rows as Python's csv module reads them."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline=""), strict=True))


async def export(client: httpx.AsyncClient, path: str) -> list[dict[str, str]]:
    return rows_of(await client.get(path, headers=CSV))


# -- Out ---------------------------------------------------------------------


async def test_every_row(
    admin: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """A list as CSV has every row of the own clinic that the filters find, once, in order; a page only when asked."""
    await superuser.execute("DELETE FROM rulesets")
    for clinic in clinics:
        await superuser.execute(RULESETS, clinic.id, 3000)
    numbers = [f"{number:05}" for number in range(1, 3001)]
    path = "/api/rulesets/?__order=procedure"
    assert [row["procedure"] for row in await export(admin, path)] == numbers
    filtered = await export(admin, f"{path}&payer=Payer 2")
    assert [row["procedure"] for row in filtered] == numbers[1::5]
    assert [row["payer"] for row in await export(admin, f"{path}&payer=nobody")] == []
    # Whole parts of a thousand, and ties that only the key breaks.
    whole = await export(admin, "/api/rulesets/?__order=-payer&procedure__lte=02000")
    listed = [
        (await admin.get(f"/api/rulesets/?__order=-payer&procedure__lte=02000&__page_size=1000&__page={page}")).json()
        for page in (1, 2)
    ]
    assert [row["id"] for row in whole] == [row["id"] for page in listed for row in page["rows"]]
    for page, expected in (("__page=3", numbers[40:60]), ("__page_size=7", numbers[:7]), ("__cursor=", numbers[:20])):
        assert [row["procedure"] for row in await export(admin, f"{path}&{page}")] == expected
    cursor = (await admin.get(f"{path}&__cursor=&__page_size=50")).json()["next_cursor"]
    assert [row["procedure"] for row in await export(admin, f"{path}&__cursor={cursor}")] == numbers[50:70]


async def test_columns(admin: httpx.AsyncClient, north: Clinic) -> None:
    """The columns are those of JSON in their order, with the values of JSON; readable names come last."""
    for table in ("users", "ingestions", "cases", "case_codes", "tasks", "rulesets", "events", "audit_logs", "tenants"):
        path = f"/api/{table}/?__order=id"
        listed = (await admin.get(f"{path}&__page_size=1000")).json()["rows"]
        exported = await export(admin, path)
        assert [list(row) for row in exported] == [list(row) for row in listed]
        assert [row["id"] for row in exported] == [row["id"] for row in listed]
    visible = await export(admin, "/api/tasks/?__visible_fields=title,case_id,assigned_to,due_date&__readable=true")
    case, user = str(north.rows["cases"]), str(north.rows["users"])
    readable = {"case_id_readable": "Cigna · normal · pending", "assigned_to_readable": "spare@north.com"}
    assert visible == [{"title": "Review", "case_id": case, "assigned_to": user, "due_date": "", **readable}]
    assert list(visible[0])[-2:] == list(readable)
    documents = await export(admin, "/api/cases/?__visible_fields=diagnosis_codes,confidence_json,metadata_json")
    assert documents == [{"diagnosis_codes": '["M25.561"]', "confidence_json": '{"overall":1}', "metadata_json": ""}]


async def test_what_a_list_refuses(admin: httpx.AsyncClient, staff: httpx.AsyncClient, south: Clinic) -> None:
    """Related rows, unknown parameters and roles are refused as CSV too, in problems; nothing foreign is in it."""
    for query in ("__include=case", "__visible_fields=case.payer", "__order=nothing", "nothing=1", "__cursor=x"):
        assert_problem(await admin.get(f"/api/tasks/?{query}", headers=CSV), 400)
    assert_problem(await staff.get("/api/audit_logs/", headers=CSV), 403)
    answer = await admin.get("/api/cases/", headers=CSV)
    assert str(south.id) not in answer.text
    assert "hash_south" not in answer.text


async def test_who_gets_csv(admin: httpx.AsyncClient) -> None:
    """CSV is for who prefers it to JSON; HEAD has its headers and no body."""
    path = "/api/rulesets/"
    for accept in ("text/csv", "Text/CSV, */*;q=0.1", "text/csv, application/json;q=0.9", "text/csv;q=0.5"):
        assert len(rows_of(await admin.get(path, headers={"Accept": accept}))) == 1
    for accept in ("*/*", "text/html, */*;q=0.8", "application/json", "application/json, text/csv", ""):
        answer = await admin.get(path, headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/json", accept
    head = await admin.head(path, headers=CSV)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert head.headers["content-disposition"] == 'attachment; filename="rulesets.csv"'


async def test_no_cell_is_a_formula(admin: httpx.AsyncClient, north: Clinic) -> None:
    """A text that a spreadsheet would compute comes with an apostrophe before it, any other as it is."""
    texts = FORMULAS + PLAIN
    created = await admin.post(
        "/api/rulesets/",
        json=[north.body("rulesets", payer=text, procedure=f"p{n:02}") for n, text in enumerate(texts)],
    )
    assert created.status_code == 201, created.text
    found = await export(admin, "/api/rulesets/?procedure__starts=p&__order=procedure&__visible_fields=payer")
    assert [row["payer"] for row in found] == [f"'{text}" for text in FORMULAS] + PLAIN


# -- In ----------------------------------------------------------------------


async def test_round_trip(admin: httpx.AsyncClient, north: Clinic) -> None:
    """An export without the server's columns, sent back as it is, makes rows that differ in those columns only."""
    case = str(north.rows["cases"])
    texts = [*FORMULAS, *PLAIN]
    rows: dict[str, list[dict[str, Any]]] = {
        "tasks": [north.body("tasks", title=text, description=text, status="completed") for text in texts]
        + [north.body("tasks", description="", due_date="2026-03-04T05:06:07.089012Z")],
        "case_codes": [north.body("case_codes", confidence=value) for value in (0.1, None, -1e-300, 1e300, 0.0)],
        "rulesets": [north.body("rulesets", is_active=False, rules_json={"=a": ["-1", 2**63, None], 'q"': "\r\n"})],
        "cases": [
            north.body("cases", diagnosis_codes=codes, extracted_data={"odd": odd})
            for codes, odd in (([], []), (["M79.3", "S72.001A"], ["a,b", '"', "=x"]), (["M79"], ["-1"]))
        ],
    }
    for table, bodies in rows.items():
        created = (await admin.post(f"/api/{table}/", json=bodies)).json()["rows"]
        fields = (await admin.get(f"/api/{table}/schema/")).json()["properties"]
        names = [name for name, field in fields.items() if not field.get("writeOnly")]
        ids = ",".join(row["id"] for row in created)
        path = f"/api/{table}/?id__in={ids}&__visible_fields={','.join(names)}"
        content = (await admin.get(path, headers=CSV)).content
        answer = await admin.post(f"/api/{table}/", content=content, headers=SENT)
        assert answer.status_code == 201, answer.text
        again = [{name: row[name] for name in names} for row in answer.json()["rows"]]
        assert again == (await admin.get(f"{path}&__page_size=1000")).json()["rows"]
        assert (await admin.get(f"/api/case_codes/?case_id={case}")).status_code == 200


async def test_errors_name_row_and_column(
    admin: httpx.AsyncClient, south: Clinic, north: Clinic, superuser: asyncpg.Connection
) -> None:
    """A fault in a cell is named by its row and column, and no row is stored."""
    before = await superuser.fetchval("SELECT count(*) FROM tasks")
    case, foreign = str(north.rows["cases"]), str(south.rows["cases"])

    async def blamed(content: str, table: str = "tasks") -> list[str]:
        answer = await admin.post(f"/api/{table}/", content=content, headers=SENT)
        return fields(answer)

    assert await blamed(f"case_id,title,status\n{case},a,pending\n{case},,done\nx,b,\n") == [
        *("1.status", "1.title", "2.case_id"),
    ]
    assert await blamed(f"case_id,title\n{case},a\n{foreign},b\n") == ["case_id"]
    assert await blamed(f"case_id,title\n{case}\n{case},a,b\n") == ["0", "1"]
    assert await blamed(f"case_id,title,id\n{case},a,{foreign}\n") == ["0.id"]
    assert await blamed("title,nothing,title\n1,2,3\n") == ["column"]
    assert await blamed("payer,procedure,rules_json,is_active\na,b,{,true\nc,d,{},yes\n", "rulesets") == [
        *("0.rules_json", "1.is_active"),
    ]
    for malformed in (b"", b"\n", b'title\n"a', b"title\n\xff", b"title\n\x00"):
        assert_problem(await admin.post("/api/tasks/", content=malformed, headers=SENT), 400)
    for length in (0, 1001):
        content = "case_id,title\r\n" + f"{case},a\r\n" * length
        assert_problem(await admin.post("/api/tasks/", content=content, headers=SENT), 422)
    assert await superuser.fetchval("SELECT count(*) FROM tasks") == before


@pytest.mark.usefixtures("rulesets")
async def test_roles_and_types(admin: httpx.AsyncClient, staff: httpx.AsyncClient, north: Clinic) -> None:
    """CSV is taken by POST only, from who may create, under the rules of the table; a thousand rows at once."""
    ruleset = "payer,procedure,rules_json\r\nAetna,p,{}\r\n"
    assert_problem(await staff.post("/api/rulesets/", content=ruleset, headers=SENT), 403)
    case = "member_id_hash,payer,confidence_json,extracted_data,status\nhash_csv,p,{},{},denied\n"
    assert_problem(await staff.post("/api/cases/", content=case, headers=SENT), 403)
    for method, path in (("PATCH", "/api/rulesets/?payer=Aetna"), ("PUT", f"/api/cases/{north.rows['cases']}/")):
        assert_problem(await admin.request(method, path, content=ruleset, headers=SENT), 415)
    many = "payer,procedure,rules_json\n" + "New,p,{}\n" * 1000
    answer = await admin.post("/api/rulesets/", content=many, headers=SENT | CSV)
    assert (answer.status_code, len(answer.json()["rows"])) == (201, 1000)
    users = (await admin.get("/api/users/?role=staff&__visible_fields=tenant_id")).json()["rows"]
    assert {row["tenant_id"] for row in users} == {str(north.id)}
    assert len(await export(admin, "/api/rulesets/?payer__ne=New")) == len(PAYERS)
    assert north.users[Role.staff]
