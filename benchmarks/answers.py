"""Whether all contenders answer the same: rates of different answers could not be compared."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import httpx

from benchmarks.contenders import Running
from benchmarks.workloads import Sample, requests_of

ASKED = 5
READS = ("W1", "W2", "W3", "W6")
_DOCUMENTS = ("confidence_json", "extracted_data", "metadata_json")


class DifferentAnswer(Exception):
    """Two contenders answer the same question otherwise; the message says which."""


def compare(reference: Running, others: list[Running], sample: Sample) -> None:
    """Raises `DifferentAnswer`."""
    for workload in READS:
        expected = list(_answers(reference, workload, sample))
        for other in others:
            if workload not in other.contender.workloads:
                continue
            for number, (wanted, given) in enumerate(zip(expected, _answers(other, workload, sample), strict=True)):
                if wanted != given:
                    raise DifferentAnswer(
                        f"{workload}, request {number}: {other.contender.title} answers {_shown(given)}, "
                        f"{reference.contender.title} {_shown(wanted)}"
                    )


def _answers(running: Running, workload: str, sample: Sample) -> Iterator[Any]:
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=30) as client:
        for request in islice(requests_of(workload, sample, running.contender.dialect), ASKED):
            method, path, headers = _parts(request)
            answer = client.request(method, path, headers=headers).raise_for_status().json()
            yield _canonical({name: answer[name] for name in ("rows", "total") if name in answer} or answer)


def _parts(request: bytes) -> tuple[str, str, dict[str, str]]:
    lines = request.decode().split("\r\n\r\n")[0].split("\r\n")
    method, path, _ = lines[0].split(" ")
    return method, path, dict(line.split(": ", 1) for line in lines[1:])


def _canonical(value: Any, name: str = "") -> Any:
    """Times as such, to the millisecond, which is all that JavaScript has; documents that come as texts, parsed."""
    if isinstance(value, dict):
        return {key: _canonical(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if name == "unknown_codes":  # Prisma has no NULL where a list is.
        return value or []
    if name in _DOCUMENTS and isinstance(value, str):
        return json.loads(value)
    if isinstance(value, str) and name.endswith(("_at", "_date")):
        time = datetime.fromisoformat(value).astimezone(UTC)
        return time.replace(microsecond=time.microsecond // 1000 * 1000)
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 600 else f"{text[:600]}…"
