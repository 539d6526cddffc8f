"""The paths beside `/api`: the front page, documents, health, metrics."""

from collections.abc import Mapping, Sequence
from functools import cache

from litestar import Response, get
from litestar.types import ControllerRouterHandler
from piccolo.table import Table
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.docs_page import docs_page
from api.encoding import dump_json
from api.gateway import Metrics
from api.openapi.document import openapi_document
from api.pages import FRONT_PAGE, PROBLEM_PAGES
from api.problems import Problem, not_found
from tenancy.actions import Action
from tenancy.engine import FastlaneEngine
from tenancy.readiness import why_not_ready

HTML = "text/html"


def service_routes(
    engine: FastlaneEngine,
    metrics: Metrics,
    tables: Sequence[type[Table]],
    actions: Mapping[type[Table], Sequence[Action]],
    version: str,
) -> list[ControllerRouterHandler]:
    """Route handlers bound to this app's engine and metrics, and to the document of its tables."""
    documents = _document_routes(
        *_documents(tuple((table, tuple(actions.get(table, ()))) for table in tables), version)
    )
    return [front_page, favicon, healthz, problem_page, *_state_routes(engine, metrics), *documents]


@get("/", media_type=HTML, sync_to_thread=False)
def front_page() -> str:
    """What this is, and where the rest is."""
    return FRONT_PAGE


@get("/favicon.ico", status_code=204, sync_to_thread=False)
def favicon() -> None:
    """There is none; a browser asks all the same, and would log an error."""


@get("/healthz", sync_to_thread=False)
def healthz() -> dict[str, str]:
    """The process lives; the database is not asked."""
    return {"status": "ok"}


@get("/docs/problems/{slug:str}", media_type=HTML, sync_to_thread=False)
def problem_page(slug: str) -> str:
    """What a problem's `type` leads to."""
    if slug not in PROBLEM_PAGES:
        raise not_found()
    return PROBLEM_PAGES[slug]


def _state_routes(engine: FastlaneEngine, metrics: Metrics) -> list[ControllerRouterHandler]:
    @get("/readyz")
    async def readyz() -> dict[str, str]:
        reason = await why_not_ready(engine)
        if reason is not None:
            raise Problem(503, f"Not ready: {reason}.")
        return {"status": "ready"}

    @get("/metrics", sync_to_thread=False)
    def prometheus() -> Response[bytes]:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return [readyz, prometheus]


@cache
def _documents(tables: tuple[tuple[type[Table], tuple[Action, ...]], ...], version: str) -> tuple[bytes, str]:
    """The OpenAPI document and its page. They follow from the code alone, and take a fifth of a second: once is
    enough for the many apps of a test run."""
    openapi = openapi_document(dict(tables), version)
    return dump_json(openapi), docs_page(openapi)


def _document_routes(document: bytes, page: str) -> list[ControllerRouterHandler]:
    @get("/openapi.json", sync_to_thread=False)
    def openapi_json() -> Response[bytes]:
        return Response(document, media_type="application/json")

    @get("/docs", media_type=HTML, sync_to_thread=False)
    def docs() -> str:
        return page

    return [openapi_json, docs]
