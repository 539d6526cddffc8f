"""PiccoloCRUD with its protocol kept and its faults mended.

Models are built once, JSON is JSON, the server's columns are the server's, and every error
is a problem. Runs inside the request's bound transaction: no query here names a tenant.
"""

import json
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any
from uuid import UUID

import orjson
from piccolo.columns import JSON, JSONB, Column, ForeignKey
from piccolo.table import Table
from piccolo_api.crud.endpoints import PiccoloCRUD
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.body import is_same, read_json, require_object
from api.encoding import dump_json
from api.models import create_body, field_errors, patch_body, server_columns
from api.problems import FieldError, Problem, invalid, not_found
from api.query import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, ListQuery, escape_like, parse_query
from api.scope import identity_of
from tenancy.permissions import Operation, require
from tenancy.rules import Change, Rule, RuleViolation

Row = dict[str, Any]

_COLLECTION = {"GET": Operation.read, "POST": Operation.create}
_ROW = {"GET": Operation.read, "PUT": Operation.update, "PATCH": Operation.update, "DELETE": Operation.delete}


class TenantCRUD(PiccoloCRUD):
    """CRUD of one tenant table for whoever the request was bound to."""

    def __init__(self, table: type[Table], rules: Sequence[Rule] = ()) -> None:
        super().__init__(table, read_only=False, page_size=DEFAULT_PAGE_SIZE)
        self.rules = rules
        self._name = table._meta.tablename
        self._columns = [column for column in table._meta.columns if not column._meta.secret]
        self._json_columns = [c._meta.name for c in self._columns if isinstance(c, JSON | JSONB)]
        self._server_columns = server_columns(table)
        self._create_body = create_body(table)
        self._patch_body = patch_body(table)
        self._schema = orjson.dumps(self._create_body.model_json_schema())
        self.redirect_slashes = False
        self.default = _unknown_path
        for route in self.routes:
            route.methods = None  # type: ignore[attr-defined]  # `_authorize` answers 405.

    # -- Paths ---------------------------------------------------------------

    async def root(self, request: Request) -> Response:
        self._authorize(request, _COLLECTION)
        if request.method == "POST":
            return await self._create(request)
        return await self._list(request)

    async def detail(self, request: Request) -> Response:
        self._authorize(request, _ROW)
        try:
            row_id = UUID(request.path_params["row_id"])
        except ValueError:
            raise not_found() from None
        match request.method:
            case "PUT":
                return await self._write(request, row_id, whole=True)
            case "PATCH":
                return await self._write(request, row_id, whole=False)
            case "DELETE":
                return await self._delete(row_id)
            case _:
                return await self._read(request, row_id)

    async def get_schema(self, request: Request) -> Response:
        self._authorize(request, {"GET": Operation.read})
        return Response(self._schema, media_type="application/json")

    async def get_references(self, request: Request) -> Response:
        self._authorize(request, {"GET": Operation.read})
        references = [
            {"tableName": column._meta.table._meta.tablename, "columnName": column._meta.name}
            for column in self.table._meta.foreign_key_references
            if "platform" not in column._meta.table._meta.tags
        ]
        return _answer({"references": references})

    async def get_new(self, request: Request) -> Response:
        """The defaults of a row, for a form; what has none, or is the server's, is left out."""
        self._authorize(request, {"GET": Operation.read})
        fields = self._create_body.model_fields
        return _answer({n: f.get_default(call_default_factory=True) for n, f in fields.items() if not f.is_required()})

    async def get_count(self, request: Request) -> Response:
        self._authorize(request, {"GET": Operation.read})
        query = parse_query(self.table, request.query_params.multi_items())
        return _answer({"count": await self._count(query), "page_size": query.page_size})

    async def get_ids(self, request: Request) -> Response:
        """Keys with their readable names, at most 1,000; `search`, `limit` and `offset`."""
        self._authorize(request, {"GET": Operation.read})
        parameters = dict(request.query_params)
        limit = _bounded("limit", parameters.pop("limit", str(MAX_PAGE_SIZE)), 1, MAX_PAGE_SIZE)
        offset = _bounded("offset", parameters.pop("offset", "0"), 0, 10**12)
        search = parameters.pop("search", "")
        if parameters or "\x00" in search or len(request.query_params) < len(request.query_params.multi_items()):
            raise Problem(400, "The parameters of ids are search, limit and offset, each at most once.")
        readable = self.table.select(self.table._meta.primary_key, self.table.get_readable())
        rows = await self.table.raw(
            f"SELECT * FROM ({readable}) AS item WHERE item.readable ILIKE {{}} "  # noqa: S608  # No value in it.
            "ORDER BY item.readable, item.id LIMIT {} OFFSET {}",
            f"%{escape_like(search)}%",
            limit,
            offset,
        )
        return _answer({str(row["id"]): row["readable"] for row in rows})

    # -- Reading -------------------------------------------------------------

    async def _list(self, request: Request) -> Response:
        query = parse_query(self.table, request.query_params.multi_items())
        visible = query.visible or self._columns
        select = self.table.select(*visible, *self._readable(visible, query.readable))
        for clause in query.where:
            select = select.where(clause)
        for column, ascending in query.order_by:
            select = select.order_by(column, ascending=ascending)
        rows = await select.limit(query.page_size).offset(query.offset)
        body: Row = {"rows": [self._present(row) for row in rows]}
        headers: dict[str, str] = {}
        if query.with_total or query.range_header:
            total = await self._count(query)
            if query.with_total:
                pages = ceil(total / query.page_size)
                body |= {"page": query.page, "page_size": query.page_size, "total": total, "total_pages": pages}
            if query.range_header:
                name = query.range_header_name or self._name
                span = f"{query.offset}-{query.offset + len(rows) - 1}" if rows else "*"
                headers["Content-Range"] = f"{name} {span}/{total}"
        return _answer(body, headers=headers)

    async def _read(self, request: Request, row_id: UUID) -> Response:
        query = parse_query(self.table, request.query_params.multi_items())
        visible = query.visible or self._columns
        select = self.table.select(*visible, *self._readable(visible, query.readable))
        row = await select.where(self.table._meta.primary_key == row_id).first()
        if row is None:
            raise not_found()
        return _answer(self._present(row))

    async def _count(self, query: ListQuery) -> int:
        count = self.table.count()
        for clause in query.where:
            count = count.where(clause)
        return int(await count)

    def _readable(self, visible: Sequence[Column], wanted: bool) -> list[Any]:
        if not wanted:
            return []
        return [self.table._get_related_readable(column) for column in visible if isinstance(column, ForeignKey)]

    # -- Writing -------------------------------------------------------------

    async def _create(self, request: Request) -> Response:
        data = require_object(await read_json(request))
        self._apply_rules(request, data, None, only_permission=True)
        identity = identity_of(request.scope)
        data = {name: value for name, value in data.items() if value is not None or name not in self._server_columns}
        given = {"tenant_id": str(identity.tenant_id), "created_by": str(identity.user_id)}
        values = self._validated(data, given, partial=False)
        self._apply_rules(request, values, None)
        row = self.table(**self._stored(values))
        created = (await self.table.insert(row).returning(*self._columns))[0]
        headers = {"Location": f"/api/{self._name}/{created['id']}/"}
        return _answer(self._present(created), 201, headers)

    async def _write(self, request: Request, row_id: UUID, *, whole: bool) -> Response:
        data = await read_json(request)
        key = self.table._meta.primary_key
        stored = await self.table.select(*self._columns).where(key == row_id).lock_rows("NO KEY UPDATE").first()
        if isinstance(data, dict):
            self._apply_rules(request, data, stored, only_permission=True)
        if stored is None:
            raise not_found()
        unchanged = orjson.loads(dump_json({name: stored[name] for name in self._server_columns}))
        values = self._validated(require_object(data), unchanged, partial=not whole)
        self._apply_rules(request, values, stored)
        if not values:
            return _answer(self._present(stored))
        changes: dict[Column | str, Any] = {
            self.table._meta.get_column_by_name(n): v for n, v in self._stored(values).items()
        }
        updated = await self.table.update(changes).where(key == row_id).returning(*self._columns)
        if not updated:
            raise not_found()
        return _answer(self._present(updated[0]))

    async def _delete(self, row_id: UUID) -> Response:
        key = self.table._meta.primary_key
        if not await self.table.delete().where(key == row_id).returning(key):
            raise not_found()
        return Response(status_code=204)

    def _validated(self, data: Row, unchanged: Mapping[str, Any], *, partial: bool) -> Row:
        """The writable values of a body. Raises `Problem` 422 that names every field at fault."""
        errors = [
            FieldError((name,), "is set by the server and cannot be changed")
            for name in sorted(self._server_columns & data.keys())
            if not is_same(data[name], unchanged.get(name))
        ]
        own = {name: value for name, value in data.items() if name not in self._server_columns}
        model = self._patch_body if partial else self._create_body
        try:
            values = model.model_validate_json(dump_json(own))
        except ValidationError as error:
            raise invalid([*errors, *field_errors(error)]) from None
        if errors:
            raise invalid(errors)
        dumped: Row = {name: getattr(values, name) for name in (own if partial else type(values).model_fields)}
        self._refuse_nulls(dumped)
        return dumped

    def _refuse_nulls(self, values: Row) -> None:
        missing = [name for name, value in values.items() if value is None and not self._is_nullable(name)]
        if missing:
            raise invalid(FieldError((name,), "cannot be null") for name in missing)

    def _is_nullable(self, name: str) -> bool:
        return bool(self.table._meta.get_column_by_name(name)._meta.null)

    def _apply_rules(
        self, request: Request, values: Mapping[str, Any], stored: Row | None, *, only_permission: bool = False
    ) -> None:
        """What the role may not is said first (403), what nobody may after the content is known."""
        role = identity_of(request.scope).role
        for rule in self.rules:
            try:
                rule(Change(role=role, values=values, stored=stored))
            except RuleViolation as violation:
                if only_permission:
                    continue
                raise invalid([FieldError((violation.field,), violation.message)]) from None

    # -- Both ways -----------------------------------------------------------

    def _authorize(self, request: Request, operations: Mapping[str, Operation]) -> None:
        """405 where the path knows no such method, 403 where the role may not."""
        operation = operations.get(request.method)
        if operation is None:
            raise Problem(405, f"{request.method} is not possible here.", headers={"Allow": ", ".join(operations)})
        require(identity_of(request.scope).role, self._name, operation)

    def _present(self, row: Row) -> Row:
        """JSON columns go out as the database wrote them, without being parsed."""
        for name in self._json_columns:
            if isinstance(row.get(name), str):
                row[name] = orjson.Fragment(row[name])
        return row

    def _stored(self, values: Row) -> Row:
        return {
            name: json.dumps(value, allow_nan=False) if name in self._json_columns and value is not None else value
            for name, value in values.items()
        }


async def _unknown_path(scope: Any, receive: Any, send: Any) -> None:
    raise not_found()


def _answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(dump_json(body), status, dict(headers or {}), media_type="application/json")


def _bounded(name: str, value: str, least: int, most: int) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 13 or not least <= int(value) <= most:
        raise Problem(400, f"Parameter {name} accepts a whole number from {least} to {most}.")
    return int(value)
