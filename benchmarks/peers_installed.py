"""Installs the peers where they are missing: Python's into an environment of their own, Prisma's with npm."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import OPEN, ROOT, Contender
from benchmarks.workloads import NEW_CASE, Clinic, Dialect

_PEERS = Path(__file__).parent / "peers"
_NPM = ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")
_STOCK_CASE = {
    "status": "pending",
    "confidence_json": '{"overall": 0.92}',
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
}


def peers(directory: Path) -> list[Contender]:
    """Those that can be had here; of the others a line says why not."""
    found = [_stock(), *_python_peers(directory / "venv")]
    if shutil.which("node") and shutil.which("npm"):
        found += _prisma(directory / "prisma")
    else:
        print("Prisma is left out: node and npm are needed", file=sys.stderr)
    return found


def _stock() -> Contender:
    """PiccoloCRUD as it comes. It knows no tenant, so that it is asked for one."""
    pending = "/api/cases/?tenant_id={tenant}&status=pending&status__match=exact&__order=-created_at,id&__page_size=20"
    return Contender(
        "stock",
        "PiccoloCRUD as it comes, no security",
        (sys.executable, "benchmarks/peers/stock_piccolo.py"),
        role=OPEN,
        dialect=Dialect(pending=pending, new_case=_stock_case),
        workloads=("W1", "W2", "W4", "W5"),
    )


def _stock_case(clinic: Clinic) -> dict[str, object]:
    owner = {"tenant_id": str(clinic.tenant_id), "created_by": str(clinic.user_id)}
    return {**NEW_CASE, **_STOCK_CASE, "extracted_data": '{"source": "email"}', **owner}


def _python_peers(environment: Path) -> list[Contender]:
    python = environment / "bin" / "python"
    if not (environment / ".installed").exists():
        print("Installing the Python peers …", file=sys.stderr)
        _run((sys.executable, "-m", "venv", str(environment)))
        requirements = str(_PEERS.parent / "requirements.txt")
        _run((str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements))
        (environment / ".installed").touch()
    return [
        Contender("fastapi", "FastAPI + SQLAlchemy", (str(python), "benchmarks/peers/fastapi_sqlalchemy.py")),
        Contender("django", "Django REST framework", (str(python), "benchmarks/peers/django_rest.py")),
    ]


def _prisma(directory: Path) -> list[Contender]:
    shutil.copytree(_PEERS / "prisma", directory, dirs_exist_ok=True)
    marker = directory / ".installed"
    wanted = "".join((directory / name).read_text(encoding="utf-8") for name in ("package.json", "schema.prisma"))
    if not marker.exists() or marker.read_text(encoding="utf-8") != wanted:
        print("Installing Prisma …", file=sys.stderr)
        _run(_NPM, directory)
        _run(("npm", "run", "--silent", "generate", "--", "--no-hints"), directory)
        marker.write_text(wanted, encoding="utf-8")
    command = ("node", "server.mjs")
    return [
        Contender(
            "prisma-rls",
            "Prisma + Fastify, row-level security",
            command,
            directory=directory,
            environment={"ROW_LEVEL_SECURITY": "1"},
        ),
        Contender(
            "prisma",
            "Prisma + Fastify, tenant in WHERE",
            command,
            role=OPEN,
            directory=directory,
            environment={"ROW_LEVEL_SECURITY": "0"},
        ),
    ]


def _run(command: Sequence[str], directory: Path = ROOT) -> None:
    subprocess.run(command, cwd=directory, check=True, env=dict(os.environ))  # noqa: S603  # Commands of ours.
