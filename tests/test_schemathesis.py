"""Schemathesis holds the OpenAPI document against the app that runs: every role, every operation, every check.

It sends what the document allows and what it forbids, walks from one operation to the next, and
compares each answer with what the document promises. Seeded: every run makes the same choices.
"""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
import schemathesis
import structlog
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import CheckFailureInfo, ScenarioRecorder
from schemathesis.engine.run import PhaseName

from tenancy.settings import Settings
from tenancy.tables import Role
from tests.clinics import Clinic
from tests.conftest import Running, serve

SEED = 20261122
# Of each operation, and of walks through several of them. Most requests are of the coverage phase, which takes
# no number: it tries the limits of each parameter and field once.
EXAMPLES = 10
WALKS = 60
STEPS = 8
FEWEST_REQUESTS = {Role.admin: 2_600, Role.clinician: 1_200, Role.staff: 1_200}
FEWEST_STATEFUL = 50
LONGEST_PART = 600

# What a check accepts beside success. 401 is never the answer to a good token, 5xx never to anything.
# A request that the document allows may be one that the role may not make (403), about a row that is not
# there (404), at odds with what is stored (409) or with the version that a header names (304, 412). 422 stands
# for what a schema cannot say, above all a key of a row that does not exist.
POSITIVE = ["2xx", "304", "403", "404", "409", "412", "422"]
# What the document forbids is refused. 403, 404 and 412 come first: they do not look at the rest.
NEGATIVE = ["400", "401", "403", "404", "405", "409", "412", "413", "415", "422"]

pytestmark = pytest.mark.timeout(300)


def configuration(url: str, token: str, role: Role) -> SchemathesisConfig:
    """Every check, and nothing left to chance, to a cache, or to a file in the working folder.

    The limits of each parameter are tried once, as admin, and not again where the same filters come back.
    """
    uncovered = {"phases": {"coverage": {"enabled": False}}}
    repeated = [
        {"include-path-regex": "/count/$", **uncovered},
        *({"include-method": verb, "include-path-regex": r"^/api/\w+/$", **uncovered} for verb in ("PATCH", "DELETE")),
    ]
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "suppress-health-check": ["all"],
            "cache": {"enabled": False},
            "base-url": url,
            "headers": {"Authorization": f"Bearer {token}"},
            "workers": 1,
            # Only the token: a sample that hides the values of other fields does not show what failed.
            "output": {"sanitization": {"keys-to-sanitize": ["authorization"], "sensitive-markers": []}},
            "request-timeout": 20,
            # A failure is reported as it was found: shrinking would take requests without an end.
            "continue-on-failure": True,
            "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none", "no-shrink": True},
            "checks": {
                "enabled": True,
                "not_a_server_error": {"expected-statuses": ["2xx", "304", "4xx"]},
                "positive_data_acceptance": {"expected-statuses": POSITIVE},
                "negative_data_rejection": {"expected-statuses": NEGATIVE},
                "missing_required_header": {"expected-statuses": ["401"]},
            },
            "operations": repeated,
            "phases": {
                "coverage": {"enabled": role is Role.admin},
                # Guesses from the names of fields end at once where a table refers to itself: no operation comes first.
                "stateful": {
                    "max-steps": STEPS,
                    "generation": {"max-examples": WALKS},
                    "inference": {"algorithms": ["location-headers"]},
                },
            },
        }
    )


def sayable(document: dict[str, Any]) -> dict[str, Any]:
    """The document, narrowed to what a schema can say: groups and CSV have a grammar, a cursor is the server's, a
    page of related rows is smaller, a history has pages or a time, a bulk change needs one filter of many, days
    have an order, and the answer of a stream has no end."""
    del document["paths"]["/api/events/stream/"]
    parameters = document["components"]["parameters"]
    for name, parameter in parameters.items():
        if name.endswith(".__page_size"):
            parameter["schema"]["maximum"] = 100
    for path, operations in document["paths"].items():
        operations.get("post", {}).get("requestBody", {"content": {}})["content"].pop("text/csv", None)
        for verb in operations.keys() & {"get", "patch", "delete"}:
            found = [
                parameters.get(item.get("$ref", "").rpartition("/")[2], item)
                for item in operations[verb].get("parameters", [])
            ]
            is_bulk = verb != "get" and "{row_id}" not in path
            operations[verb]["parameters"] = [
                {**item, "required": True} if is_bulk and item["name"] == "id__in" else item
                for item in found
                if item["name"] not in ("__or", "__and", "__not", "__cursor")
                and not (path.endswith("/history/") and item["name"].startswith("__"))
                and not (path == "/api/metrics/" and item["name"] == "until")
            ]
    return document


@dataclass
class Report:
    """What a run sent, and what was wrong: of each kind how often, and the first request to show it."""

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    failures: dict[str, list[str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def add(self, event: Any) -> None:
        """Takes note of an event of the engine."""
        match event:
            case events.ScenarioFinished():
                self._add_scenario(event.phase, event.recorder)
            case events.NonFatalError():
                self.errors.append(f"{event.label}: {event.info.title}: {event.info.message}")
            case events.FatalError():
                raise event.exception

    def _add_scenario(self, phase: PhaseName, recorder: ScenarioRecorder) -> None:
        for interaction in recorder.interactions.values():
            self.requests[phase.value] += 1
            status = interaction.response.status_code if interaction.response else "unanswered"
            self.statuses[f"{interaction.request.method} {status}"] += 1
        for case_id, nodes in recorder.checks.items():
            for node in nodes:
                self.checks[node.name] += 1
                if node.status is Status.FAILURE and node.failure_info is not None:
                    # A check may have asked again, without the token, say.
                    found = recorder.interactions[node.failure_info.failure.case_id or case_id]
                    self._add_failure(node.name, node.failure_info, found.response)

    def _add_failure(self, check: str, info: CheckFailureInfo, response: Response | None) -> None:
        failure, status = info.failure, response.status_code if response else 0
        # One mistake shows in up to nine tables: a kind leaves the table out, its first request names it.
        kind = re.sub(r"/api/\w+/", "/api/TABLE/", f"{check}: {failure.title}: {failure.operation}, answer {status}")
        answer = response.text if response else ""
        sample = (failure.message.replace("\n", " "), info.code_sample, answer)
        self.failures.setdefault(kind, []).append("\n    ".join(part[:LONGEST_PART] for part in sample))

    def __str__(self) -> str:
        """A paragraph for each kind, the most frequent first."""
        lines = [f"{self.requests.total()} requests: {dict(self.requests)}", f"{dict(self.statuses)}"]
        kinds = sorted(self.failures.items(), key=lambda item: -len(item[1]))
        lines += [f"\n{len(found)} x {kind}\n    {found[0]}" for kind, found in kinds]
        return "\n".join([*lines, *dict.fromkeys(self.errors)])


@pytest_asyncio.fixture
async def lasting(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> None:
    """Nobody of the clinic can be changed or deleted: a run that took its own role would meet 403 from there on."""
    known = ", ".join(f"'{user}'" for user in clinics[0].users.values())
    await superuser.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'the run needs this user' USING ERRCODE = 'FL409'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON users FOR EACH ROW
            WHEN (OLD.id IN ({known})) EXECUTE FUNCTION refuse();
        """
    )


@pytest.fixture
def app(clinics: tuple[Clinic, Clinic], lasting: None, settings: Settings) -> Iterator[Running]:
    """The app over two clinics, in a thread of its own: Schemathesis blocks."""
    ready, stop = threading.Event(), threading.Event()
    found: list[Running] = []

    async def main() -> None:
        async for running in serve(settings):
            # A line for each of thousands of requests would bury the report.
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
            found.append(running)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=[main()])
    thread.start()
    while not ready.wait(0.1):
        assert thread.is_alive(), "the server did not start"
    yield found[0]
    stop.set()
    thread.join()


@pytest.mark.parametrize("role", Role)
def test_document_and_app_agree(app: Running, clinics: tuple[Clinic, Clinic], role: Role) -> None:
    """What the document allows is accepted, what it forbids is refused, and every answer is as it says."""
    config = configuration(app.url, clinics[0].tokens[role], role)
    document = sayable(httpx.get(f"{app.url}/openapi.json").json())
    report = Report()
    for event in from_schema(schemathesis.openapi.from_dict(document, config=config)).execute():
        report.add(event)
    # `pytest.fail`, because an assertion's rewriting would repeat the whole report.
    if report.failures or report.errors:
        pytest.fail(str(report), pytrace=False)
    # Agreement proves something only if there was something to agree on.
    assert report.requests.total() >= FEWEST_REQUESTS[role]
    assert report.requests[PhaseName.STATEFUL_TESTING.value] >= FEWEST_STATEFUL
    assert set(CHECKS.get_all_names()) <= set(report.checks)
