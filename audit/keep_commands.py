"""`piccolo audit redact`, `archive` and `check_archive`: what becomes of the trail in the course of time."""

import getpass
import sys
from pathlib import Path

from audit import archive as archives
from audit.chain import Fault
from audit.commands import UNREACHABLE
from audit.ledger import ledger_directory
from audit.redaction import Redacted, Refused, forms_of
from audit.redaction import redact as remove
from tenancy.commands import fail
from tenancy.scoping import database

ROWS_BETWEEN_LINES = 100_000


async def redact(tenant: str, reason: str = "", yes: bool = False) -> None:
    """
    Removes a value, which is read from stdin or asked for, from all that there is of a tenant.

    :param tenant: The tenant's slug.
    :param reason: Why, to be recorded. Without the value.
    :param yes: Do not ask.
    """
    try:
        forms = forms_of(_read_value())
        if not yes:
            found = await remove(tenant, forms, reason, really=False)
            _tell(found, "would be changed")
            if not found.tables:
                return
            if not _agrees(f"Remove it from these rows of {tenant}? It cannot be brought back. [y/N] "):
                fail("nothing was changed")
        done = await remove(tenant, forms, reason, really=True)
        _tell(done, "changed")
        if (await remove(tenant, forms, reason, really=False)).tables:
            fail("somebody wrote the value again meanwhile: repeat the command")
    except (Refused, *UNREACHABLE) as error:
        fail(f"nothing was changed: {error}")


def _read_value() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Value to remove (it is not shown): ")
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")


def _tell(found: Redacted, what: str) -> None:
    for table, rows in found.tables.items():
        print(f"{table}: {rows} rows {what}")
    if not found.tables:
        print("it is nowhere to be found")
    for place, rows in found.left.items():
        print(f"{place}: {rows} rows contain it and keep it: they are sealed with it", file=sys.stderr)
    if found.archives:
        print(f"not searched: {', '.join(found.archives)}", file=sys.stderr)


def _agrees(question: str) -> bool:
    """Without anybody to ask, or when the value came from stdin, the answer is no."""
    try:
        return sys.stdin.isatty() and input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


async def archive(before: str, to: str = "") -> None:
    """
    Moves the part of the trail that was sealed before a month to a file.

    :param before: The month, in UTC, such as 2026-01: what was sealed in it stays.
    :param to: The directory. Default: `archive` beside the ledger.
    """
    settings = database().databases.settings
    directory = Path(to) if to else ledger_directory(settings) / "archive"
    try:
        made = await archives.archive(archives.month(before), directory.absolute(), _progress("written"))
    except (Fault, Refused, *UNREACHABLE) as error:
        fail(f"not archived, nothing was deleted: {error}")
    if made is None:
        print(f"nothing that was sealed before {before} is left to archive")
    else:
        counts = ", ".join(f"{rows} rows of {table}" for table, rows in made.rows.items())
        print(f"archived {counts}, up to checkpoint {made.upto_checkpoint}, in {made.path}")


async def check_archive(file: str, alone: bool = False) -> None:
    """
    Verifies a file that `archive` wrote.

    :param file: The file.
    :param alone: Without a database: whether the file agrees with itself.
    """
    try:
        reader = await archives.check(Path(file), alone=alone)
    except (Fault, *UNREACHABLE) as error:
        fail(f"not in order: {error}")
    counts = ", ".join(f"{rows} rows of {table}" for table, rows in reader.rows.items())
    print(f"in order{' in itself' if alone else ''}: {counts}")


def _progress(what: str) -> archives.Progress:
    told = 0

    def tell(rows: int) -> None:
        nonlocal told
        if rows >= told + ROWS_BETWEEN_LINES:
            told = rows
            print(f"{rows} rows {what}", file=sys.stderr, flush=True)

    return tell
