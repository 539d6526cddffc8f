"""The front door: every request gets an id, an app, an answer, a log line and a count.

The last place where an exception can become a problem; nothing gets past it.
"""

import time
from collections.abc import Sequence

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from api.exchange import ASGIApp, Client, ClientGone, Message, Receive, Scope, Send, as_get, send_response
from api.problems import from_exception, not_found
from api.route_names import RouteNames
from api.security_headers import SecurityHeaders
from api.streams import expect_stop

log = structlog.get_logger()


class Metrics:
    """Prometheus counters of one app instance; a registry of its own keeps tests apart."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self.requests = Counter("http_requests_total", "Requests", (*labels, "status"), registry=self.registry)
        self.seconds = Histogram("http_request_duration_seconds", "Latency", labels, registry=self.registry)
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request. The few combinations of labels there are look their children up once."""
        children = self._children.get((method, route, status))
        if children is None:
            children = (self.requests.labels(method, route, status), self.seconds.labels(method, route))
            self._children[method, route, status] = children
        children[0].inc()
        children[1].observe(seconds)


class Gateway:
    """Sends a request to the app whose prefix its path has, or to `fallback`."""

    def __init__(  # What a request may need, whatever its path.
        self,
        prefixes: Sequence[tuple[str, ASGIApp]],
        fallback: ASGIApp,
        metrics: Metrics,
        security_headers: SecurityHeaders,
        routes: RouteNames,
    ) -> None:
        self._prefixes = prefixes
        self._fallback = fallback
        self._metrics = metrics
        self._security_headers = security_headers
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            expect_stop(scope)
            await self._fallback(scope, receive, send)
            return
        scope = dict(scope)
        client = Client.of(scope)
        method = scope["method"]
        if method == "HEAD":
            as_get(scope)
        started = time.perf_counter()
        status = 0

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", []), (b"x-request-id", client.request_id.encode())]
                message = {**message, "headers": self._security_headers.complete(client.path, headers)}
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        path = scope["path"]
        try:
            app = self._app_for(path)
            # Two slashes would count as one, and name another resource. The other apps refuse whom they know.
            if "//" in path and app is self._fallback:
                raise not_found()
            await app(scope, receive, observed_send)
        except ClientGone:
            return
        except Exception as error:
            if status:
                raise  # Too late for another answer: the server closes the connection.
            problem = from_exception(error)
            await send_response(problem.response(client.path, client.request_id), scope, observed_send)
        finally:
            self._observe(method, path, status, time.perf_counter() - started, client)

    def _app_for(self, path: str) -> ASGIApp:
        for prefix, app in self._prefixes:
            if path == prefix or path.startswith(f"{prefix}/"):
                return app
        return self._fallback

    def _observe(self, method: str, path: str, status: int, seconds: float, client: Client) -> None:
        route = self._routes.of(path)
        method = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "OTHER"
        self._metrics.observe(method, route, status, seconds)
        log.info(
            "request",
            request_id=client.request_id,
            method=method,
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 1),
        )


def with_slash(app: ASGIApp) -> ASGIApp:
    """A path without its last slash is the same path, without a redirect."""

    async def slashed(scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"] + "/", "raw_path": scope.get("raw_path", b"") + b"/"}
        await app(scope, receive, send)

    return slashed
