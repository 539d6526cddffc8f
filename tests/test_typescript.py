"""The OpenAPI document is good enough to generate a client from: one in TypeScript compiles, and works.

What npm installs comes from its cache or its registry, pinned in tests/typescript/package.json.
"""

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest
import pytest_asyncio

from tenancy.tables import Role
from tests.clinics import Clinic
from tests.conftest import Running

SOURCE = Path(__file__).parent / "typescript"

pytestmark = [pytest.mark.needs("node", "npm"), pytest.mark.timeout(300)]


async def run(folder: Path, *command: str, **environment: str) -> tuple[int, str]:
    """The exit code and all that was said. The app under test shares this loop: nothing may block it."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", "NO_UPDATE_NOTIFIER": "1", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def succeed(folder: Path, *command: str, **environment: str) -> str:
    code, said = await run(folder, *command, **environment)
    assert code == 0, f"{' '.join(command)} failed:\n{said}"
    return said


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's folder, with what it needs."""
    # No lock file: it would name the registry. Nothing of `node_modules` may end up in the repository either.
    folder = tmp_path_factory.mktemp("typescript") / "client"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules", "package-lock.json"))
    await succeed(
        folder, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline", "--ignore-scripts"
    )
    return folder


@pytest_asyncio.fixture
async def project(folder: Path, running: Running) -> Path:
    """The client's folder, with the types of the app that runs."""
    (folder / "openapi.json").write_bytes((await running.client.get("/openapi.json")).content)
    await succeed(folder, "npm", "run", "types")
    return folder


async def test_client_compiles_and_works(project: Path, running: Running, clinics: tuple[Clinic, Clinic]) -> None:
    """A strictly typed client reads, lists, creates, changes and deletes, reads a problem, and fails on a surprise."""
    await succeed(project, "npm", "run", "check")
    await succeed(project, "npm", "run", "build")
    said = await succeed(project, "npm", "start", BASE_URL=running.url, TOKEN=clinics[0].tokens[Role.admin])
    assert "every answer was as expected" in said
    code, said = await run(project, "npm", "start", BASE_URL=running.url, TOKEN="x.y.z")
    assert code != 0
    assert "me: 401" in said


async def test_mistakes_are_refused(project: Path) -> None:
    """The types know paths, columns, values and fields: every mistake is refused, where it is, and nothing else."""
    marked = [
        number
        for number, line in enumerate((SOURCE / "mistakes.ts").read_text(encoding="utf-8").splitlines(), 1)
        if "// refused: " in line
    ]
    code, said = await run(project, "npm", "run", "refuse")
    assert code != 0
    found = [int(line) for line in re.findall(r"^mistakes\.ts\((\d+),\d+\): error TS\d+", said, re.MULTILINE)]
    assert found == marked, said
    assert len(re.findall(r"error TS\d+", said)) == len(marked), said
