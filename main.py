"""The whole wiring on one screen; the only file that knows everything."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from litestar import Litestar, Response, asgi
from litestar.exceptions import HTTPException
from litestar.types import ControllerRouterHandler
from piccolo.table import Table
from piccolo_admin.endpoints import TableConfig, create_admin
from piccolo_api.crud.endpoints import OrderBy
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api import idempotency
from api.accepting import PATH as ACCEPT_PATH
from api.accepting import AcceptInvitation
from api.admin import AdminGate
from api.admin_door import AdminDoor, OwnHost, Unlimited
from api.authenticator_page import AuthenticatorPage, serve_setup
from api.crud.actions import ActionEndpoint
from api.crud.endpoints import TenantCRUD
from api.event_stream.endpoint import EventStream
from api.exchange import Client
from api.gateway import Gateway, Metrics, with_slash
from api.idempotency import IdempotencyKeys
from api.logs import configure_logging
from api.looks import Looks
from api.masking import Masks
from api.me import me
from api.overview import PATH, Overview
from api.problems import Problem, from_exception, not_found
from api.query import cursor
from api.query.cursor import CursorSeal
from api.route_names import RouteNames
from api.scope import TenantScopeMiddleware
from api.security_headers import SecurityHeaders
from api.service import service_routes
from audit.recorder import LookRecorder
from audit.sealer import sealing
from audit.tables import AccessLog, AuditLog, Event
from cases.checklist import CHECKLIST
from cases.codes import code_is_of_its_type
from cases.documents import metadata_is_of_its_source
from cases.follow_ups import FOLLOW_UPS
from cases.member_ids import MemberIds, find_cases
from cases.metrics import METRICS
from cases.overview import OVERVIEW
from cases.tables import MEMBER_ID, Case, CaseCode, Ingestion, Ruleset, Task
from cases.workflow import decided_by_few, failure_is_told, opens_as_pending
from cases.worklist import WORKLIST
from tenancy.actions import Action
from tenancy.authenticators import Authenticators
from tenancy.databases import Databases
from tenancy.derivations import Derivers
from tenancy.engine import FastlaneEngine
from tenancy.identity import IdentityDirectory
from tenancy.invitations import INVITE
from tenancy.operators import Operator, OperatorSession
from tenancy.phi_notice import announce_gaps
from tenancy.rate_limit import RateLimiter
from tenancy.rules import Rule
from tenancy.scoping import database
from tenancy.secrets import derived_key
from tenancy.settings import Settings
from tenancy.tables import PhiGuard, Tenant, User
from tenancy.tokens import TokenVerifier

VERSION = "0.1.0"
SITE_NAME = "Prior-Auth Fastlane"
EXPOSED_HEADERS = (
    *("Content-Disposition", "Content-Range", "ETag", "Idempotent-Replayed", "Link", "Location"),
    *("Preference-Applied", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
)
TABLES: Mapping[str, Sequence[type[Table]]] = {
    "Prior authorization": (Case, CaseCode, Ingestion, Ruleset, Task),
    "Clinic": (Tenant, User),
    "Audit": (Event, AuditLog, AccessLog),
}
RULES: Mapping[type[Table], Sequence[Rule]] = {
    Case: (decided_by_few, opens_as_pending),
    CaseCode: (code_is_of_its_type,),
    Ingestion: (failure_is_told, metadata_is_of_its_source),
}
ACTIONS: Mapping[type[Table], Sequence[Action]] = {
    Case: (*FOLLOW_UPS, CHECKLIST, WORKLIST, METRICS),
    User: (INVITE,),
}
# Of which each look at a single row is on the trail, under this name.
VIEWED: Mapping[type[Table], str] = {Case: "case", Ingestion: "ingestion"}


def create_app(settings: Settings | None = None) -> Any:
    """The ASGI application. Connects when it is started, not before."""
    settings = settings or Settings()
    configure_logging(settings)
    engine = database()
    metrics = Metrics()
    directory = IdentityDirectory(engine, PhiGuard(settings.phi_guard))
    seal = CursorSeal(derived_key(settings, cursor.PURPOSE))
    recorder = LookRecorder(engine)
    served = [table for tables in TABLES.values() for table in tables]
    member_ids = MemberIds(settings)
    derivers: Mapping[type[Table], Derivers] = {Case: {MEMBER_ID.source: member_ids}}
    actions = {table: list(ACTIONS.get(table, ())) for table in served}
    actions[Case].append(find_cases(member_ids))
    looks = Looks(recorder, Masks(served, [*action_names(actions), *PATH.split("/")]), views=settings.audit_views)
    tables = tables_app(engine, seal, actions, derivers)
    routes = service_routes(engine, metrics, served, actions, VERSION)
    lifespan = [lambda _: open_pool(engine, settings, recorder), lambda _: sealing(engine, metrics.registry)]
    service = litestar(routes, lifespan=lifespan)
    verifier = TokenVerifier.from_settings(settings)
    api = TenantScopeMiddleware(
        tables,
        engine,
        verifier,
        directory,
        IdempotencyKeys(derived_key(settings, idempotency.PURPOSE)),
        looks,
        RateLimiter.from_settings(engine, settings),
    )
    accepting = AcceptInvitation(api, engine, verifier, directory, looks)
    is_production = settings.is_production
    pictures = Overview(built_when_used(lambda: admin_app(settings)), OVERVIEW)
    gate = AdminGate(pictures, served, engine, directory, looks, VIEWED, derivers, is_production=is_production)
    admin = AdminDoor(gate, engine, is_production=is_production)
    headers = SecurityHeaders(is_production=is_production)
    app = Gateway(
        [(ACCEPT_PATH, with_slash(accepting)), ("/api", with_slash(api)), ("/admin", admin)],
        service,
        metrics,
        headers,
        RouteNames(action for its in actions.values() for action in its),
    )
    return reached_from_outside(app, settings)


def reached_from_outside(app: Any, settings: Settings) -> Any:
    """The app behind what browsers of other origins, and proxies, need."""
    if settings.cors_origins:  # Around the gateway, so that a browser can read a refusal too.
        app = CORSMiddleware(
            app, settings.cors_origins, allow_methods=["*"], allow_headers=["*"], expose_headers=EXPOSED_HEADERS
        )
    return ProxyHeadersMiddleware(app, list(settings.trusted_proxies)) if settings.trusted_proxies else app


def tables_app(
    engine: FastlaneEngine,
    seal: CursorSeal,
    actions: Mapping[type[Table], Sequence[Action]],
    derivers: Mapping[type[Table], Derivers],
) -> Litestar:
    """All below `/api`: the tables, and the actions and the stream that have a path of their own."""
    endpoints = [
        TenantCRUD(table, seal, RULES.get(table, ()), VIEWED, its, derivers.get(table, {}))
        for table, its in actions.items()
    ]
    stream = mount("/api/events/stream", EventStream(Event, engine), below=False)
    own_paths = [
        mount(f"/api/{action.name}", ActionEndpoint(table, action, VIEWED)) for table, action in own_actions(actions)
    ]
    return litestar(
        [me, stream, *own_paths, *(mount(f"/api/{crud.table._meta.tablename}", crud) for crud in endpoints)]
    )


def own_actions(actions: Mapping[type[Table], Sequence[Action]]) -> list[tuple[type[Table], Action]]:
    """The actions that have a path of their own, beside those of the tables."""
    return [(table, action) for table, its in actions.items() for action in its if action.place == "api"]


def action_names(actions: Mapping[type[Table], Sequence[Action]]) -> list[str]:
    return [action.name for its in actions.values() for action in its]


def litestar(routes: Sequence[ControllerRouterHandler], **options: Any) -> Litestar:
    """An app of these routes. Those of `/api` have one of their own: no spelling of a path
    leads to them but through the scope of a tenant."""
    return Litestar(
        route_handlers=routes,
        exception_handlers={HTTPException: answer_exception, Exception: answer_exception},
        openapi_config=None,
        logging_config=None,
        **options,
    )


def built_when_used(build: Callable[[], Any]) -> Any:
    """Spares a start, and every test, the half second that the admin takes to build."""
    built = cache(build)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await built()(scope, receive, send)

    return app


def mount(path: str, app: Any, *, below: bool = True) -> ControllerRouterHandler:
    """Mounts an ASGI app in Litestar, at a path and, unless told otherwise, at all below it."""

    @asgi(path, is_mount=below, copy_scope=True)
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return mounted


@asynccontextmanager
async def open_pool(engine: FastlaneEngine, settings: Settings, recorder: LookRecorder) -> AsyncIterator[None]:
    """The pool lives as long as the app does, and no look that is still to be recorded outlives it."""
    engine.databases = Databases(settings)
    await engine.start_connection_pool()
    await announce_gaps(engine, PhiGuard(settings.phi_guard))
    recorder.start()
    try:
        yield
    finally:
        await recorder.close()
        await engine.close_connection_pool()


def answer_exception(request: Any, error: Exception) -> Response[bytes]:
    """Every exception below Litestar becomes a problem; the status then rolls back."""
    if isinstance(error, HTTPException):
        problem = (
            not_found()
            if error.status_code == 404
            else Problem(error.status_code, error.detail, headers=error.headers or {})
        )
    else:
        problem = from_exception(error)
    client = Client.of(request.scope)
    answer = problem.response(client.path, client.request_id)
    return Response(bytes(answer.body), status_code=answer.status_code, headers=dict(answer.headers))


def admin_app(settings: Settings) -> Any:
    """Piccolo Admin over the nine tables. Operators and sessions are not among them."""
    authenticators = Authenticators(settings, SITE_NAME)
    admin = create_admin(
        [
            TableConfig(
                table,
                menu_group=group,
                order_by=[OrderBy(table._meta.get_column_by_name("created_at"), ascending=False)],
            )
            for group, tables in TABLES.items()
            for table in tables
        ],
        auth_table=Operator,
        session_table=OperatorSession,
        site_name=SITE_NAME,
        production=settings.is_production,
        auto_include_related=False,
        sidebar_links={OVERVIEW.title: PATH},
        rate_limit_provider=Unlimited(),
        allowed_hosts=OwnHost(),
        mfa_providers=[authenticators],
    )
    serve_setup(admin, AuthenticatorPage(authenticators))
    return admin
