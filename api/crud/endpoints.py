"""PiccoloCRUD with its protocol kept, its faults mended, and more of what a frontend asks for.

Models are built once, JSON is built by PostgreSQL, the server's columns are the server's, and
every error is a problem. Runs inside the request's bound transaction: no query here names a
tenant.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

import orjson
from piccolo.table import Table
from piccolo_api.crud.endpoints import PiccoloCRUD
from starlette.requests import Request
from starlette.responses import Response

from api.crud.actions import ActionEndpoint
from api.crud.answers import json_answer
from api.crud.bulk import BulkWriter
from api.crud.derived import with_sources
from api.crud.history import History, has_history
from api.crud.models import create_body
from api.crud.reading import Reader
from api.crud.restoring import Restorer, can_restore
from api.crud.writing import Writer
from api.exchange import Receive, Scope, Send
from api.problems import Problem, not_found
from api.query.cursor import CursorSeal
from api.query.parse import DEFAULT_PAGE_SIZE, parse_query
from api.query.relations import HIDDEN_TAGS
from api.scope import identity_of
from tenancy.actions import Action
from tenancy.derivations import Derivers
from tenancy.permissions import Operation, allowed_to_any, require
from tenancy.rules import Rule

_COLLECTION = {
    "GET": Operation.read,
    "POST": Operation.create,
    "PATCH": Operation.update,
    "DELETE": Operation.delete,
}
_ROW = {"GET": Operation.read, "PUT": Operation.update, "PATCH": Operation.update, "DELETE": Operation.delete}
_READ = {"GET": Operation.read}
_RESTORE = {"POST": Operation.update}
Endpoint = Callable[[Request], Awaitable[Response]]


class TenantCRUD(PiccoloCRUD):
    """CRUD of one tenant table for whoever the request was bound to."""

    def __init__(  # noqa: PLR0913, PLR0917  # What a domain may give to its table.
        self,
        table: type[Table],
        seal: CursorSeal,
        rules: Sequence[Rule] = (),
        viewed: Mapping[type[Table], str] | None = None,
        actions: Sequence[Action] = (),
        derivers: Derivers | None = None,
    ) -> None:
        """`viewed` are the tables of which each look at a row counts, and what the trail calls a row of theirs."""
        super().__init__(table, read_only=False, page_size=DEFAULT_PAGE_SIZE)
        self._name = table._meta.tablename
        self._reader = Reader(table, seal, viewed or {})
        self._writer = Writer(table, rules, viewed or {}, derivers or {})
        self._bulk = BulkWriter(self._writer)
        self._history = History(table, viewed or {})
        self._restorer = Restorer(self._writer)
        self._viewed = viewed or {}
        self._create_body = create_body(table)
        self._schema = orjson.dumps(with_sources(table, self._create_body.model_json_schema()))
        self._paths: Mapping[str, Endpoint] = {
            "": self.root,
            "ids": self.get_ids,
            "count": self.get_count,
            "new": self.get_new,
            "schema": self.get_schema,
            "references": self.get_references,
            **{name: endpoint.answer for name, endpoint in self._actions(actions, "table").items()},
        }
        self._row_paths: Mapping[str, Endpoint] = {
            **({"history": self.get_history} if has_history(table) else {}),
            **({"restore": self.restore} if can_restore(table) else {}),
            **{name: _of_row(endpoint) for name, endpoint in self._actions(actions, "row").items()},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The stock router tries a pattern after the other, and builds two layers around each handler; these paths
        are few and fixed."""
        name, slash, below = scope["path"].strip("/").partition("/")
        endpoint = self._row_paths.get(below) if slash else self._paths.get(name, self.detail)
        if endpoint is None:
            raise not_found()
        scope["path_params"] = {"row_id": name}
        answer = await endpoint(Request(scope, receive))
        await answer(scope, receive, send)

    async def root(self, request: Request) -> Response:
        self._authorize(request, _COLLECTION)
        match request.method:
            case "POST":
                return await self._bulk.create(request)
            case "PATCH":
                return await self._bulk.change(request)
            case "DELETE":
                return await self._bulk.delete(request)
        return await self._reader.many(request)

    async def detail(self, request: Request) -> Response:
        self._authorize(request, _ROW)
        row_id = _row_id(request)
        match request.method:
            case "PUT":
                return await self._writer.change(request, row_id, whole=True)
            case "PATCH":
                return await self._writer.change(request, row_id, whole=False)
            case "DELETE":
                return await self._writer.delete(request, row_id)
        return await self._reader.one(request, row_id)

    async def get_history(self, request: Request) -> Response:
        """A look at one row, as `detail` is."""
        self._authorize(request, _READ)
        return await self._history.read(request, _row_id(request))

    async def restore(self, request: Request) -> Response:
        self._authorize(request, _RESTORE)
        return await self._restorer.restore(request, _row_id(request))

    async def get_count(self, request: Request) -> Response:
        self._authorize(request, _READ)
        return json_answer(await self._reader.count(request))

    async def get_schema(self, request: Request) -> Response:
        self._authorize(request, _READ, takes_parameters=False)
        return Response(self._schema, media_type="application/json")

    async def get_references(self, request: Request) -> Response:
        self._authorize(request, _READ, takes_parameters=False)
        references = [
            {"tableName": column._meta.table._meta.tablename, "columnName": column._meta.name}
            for column in self.table._meta.foreign_key_references
            if not HIDDEN_TAGS & set(column._meta.table._meta.tags)
        ]
        return json_answer({"references": references})

    async def get_new(self, request: Request) -> Response:
        """The defaults of a row, for a form; what has none, or is the server's, is left out."""
        self._authorize(request, _READ, takes_parameters=False)
        fields = self._create_body.model_fields
        return json_answer(
            {name: f.get_default(call_default_factory=True) for name, f in fields.items() if not f.is_required()}
        )

    async def get_ids(self, request: Request) -> Response:
        self._authorize(request, _READ)
        return json_answer(await self._reader.ids(request))

    def _actions(self, actions: Sequence[Action], place: str) -> Mapping[str, ActionEndpoint]:
        return {
            action.name: ActionEndpoint(self.table, action, self._viewed) for action in actions if action.place == place
        }

    def _authorize(
        self, request: Request, operations: Mapping[str, Operation], *, takes_parameters: bool = True
    ) -> None:
        """405 where the path knows no such method, 403 where the role may not."""
        operation = operations.get(request.method)
        if operation is None:
            possible = allowed_to_any(self._name)
            methods = [method for method, needed in operations.items() if needed in possible]
            allow = ", ".join(["GET, HEAD" if method == "GET" else method for method in methods])
            raise Problem(405, f"{request.method} is not possible here.", headers={"Allow": allow})
        require(identity_of(request.scope).role, self._name, operation)
        if not takes_parameters:
            parse_query(self.table, request.query_params.multi_items(), frozenset(), filters=False)


def _of_row(endpoint: ActionEndpoint) -> Endpoint:
    return lambda request: endpoint.answer(request, _row_id(request))


def _row_id(request: Request) -> UUID:
    try:
        return UUID(request.path_params["row_id"])
    except ValueError:
        raise not_found() from None
