"""What `make run` runs: makes the database ready, in development, and serves.

In production it does neither migrate nor provision nor seed; it refuses to start unless it
is safe, with a line for each reason.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterable
from typing import NoReturn

import asyncpg
import uvicorn
from piccolo.apps.migrations.commands.forwards import run_forwards
from pydantic import ValidationError

from api.one_write import OneWriteProtocol
from audit.epochs import begin_epoch, is_restored
from demo.seed import is_wanted, load_demo
from tenancy.database_url import InvalidDatabaseURL
from tenancy.embedded import EmbeddedDatabaseError
from tenancy.provision import ProvisionError, provision
from tenancy.readiness import production_faults
from tenancy.scoping import database
from tenancy.settings import Settings


def main() -> None:
    """Exit status 0 after SIGTERM or Ctrl-C, 1 with the reasons when it cannot start."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        settings = Settings()
    except ValidationError as error:
        refuse(f"{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors())
    engine = database()
    try:
        if settings.is_production:
            faults = settings.missing_for_production()
            if settings.database_url is not None:
                faults += asyncio.run(production_faults(engine))
            if not faults and asyncio.run(is_restored(engine)):
                faults.append("DATABASE_URL: the database was restored; run `piccolo audit begin_epoch` first")
            if faults:
                refuse(faults)
        require_free_port(settings)
        password = None if settings.is_production else asyncio.run(prepare(settings))
        announce(settings, password)
        serve(settings)
    except (LookupError, InvalidDatabaseURL, EmbeddedDatabaseError, ProvisionError) as error:
        refuse([str(error)])
    except (OSError, asyncpg.PostgresError) as error:
        refuse([f"the database cannot be used: {error}"])
    except KeyboardInterrupt:
        pass


def refuse(reasons: Iterable[str]) -> NoReturn:
    """Ends the process with one line for each reason."""
    sys.stdout.flush()
    for reason in reasons:
        print(f"cannot start: {reason}", file=sys.stderr)
    raise SystemExit(1)


def require_free_port(settings: Settings) -> None:
    """Says so before anything is started, not after."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            refuse([f"PORT {settings.port} on {settings.host} cannot be used: {error.strerror}"])


async def prepare(settings: Settings) -> str | None:
    """Migrates, provisions and seeds. Returns the demo password, if it was made now."""
    engine = database()
    say("Starting PostgreSQL …" if settings.uses_embedded_database else "Connecting to the database …")
    if settings.uses_embedded_database or settings.direct_database_url is not None:
        owner = engine.databases.direct()
        say("Applying migrations …")
        with engine.as_owner():
            result = await run_forwards("all")
        if not result.success:
            refuse([f"a migration failed: {result.message}"])
        await provision(owner, engine.databases.app())
        if await begin_epoch(engine) is not None:
            say("The database was restored: its audit trail goes on in a new epoch.")
    else:
        say("DIRECT_DATABASE_URL is not set: migrations and provisioning are left to you.")
    if not settings.seed or not await is_wanted():
        return None
    say("Loading demo data …")
    return await load_demo(settings.demo_password.get_secret_value() if settings.demo_password else None)


def announce(settings: Settings, password: str | None) -> None:
    """Where to go, and how to log in."""
    address = f"http://{settings.host}:{settings.port}"
    say(f"\nPrior-Auth Fastlane serves on {address}")
    if settings.is_production:
        return
    say(f"  admin   {address}/admin/  as platform, test-clinic-admin or lakeside-imaging-admin")
    if password:
        say(f"          password {password}  (shown this once; DEMO_PASSWORD sets another)")
    elif settings.demo_password:
        say("          password as in DEMO_PASSWORD")
    else:
        say("          password as shown at the first start; DEMO_PASSWORD=… make run sets another")
    say(f"  API     {address}/docs")
    say("  token   .venv/bin/piccolo tenancy issue_token --email=admin@test-clinic.com\n")


def serve(settings: Settings) -> None:
    """Runs uvicorn until it is told to stop."""
    if settings.uses_embedded_database:
        # Workers join the server that this process started.
        os.environ["DATABASE_URL"] = database().databases.app_url()
        os.environ["DIRECT_DATABASE_URL"] = database().databases.direct_url()
    uvicorn.run(
        "main:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        http=OneWriteProtocol,
        log_level="warning",
        timeout_graceful_shutdown=10,
    )


def say(line: str) -> None:
    """Progress, at once."""
    print(line, flush=True)


def _stop(*_: object) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    main()
