"""`piccolo cases …`: loads a tenant's own list of codes."""

import sys
from pathlib import Path
from typing import Any

import asyncpg

from cases.code_files import FaultyFile, Listed, read_codes
from cases.code_lists import CodeSystem
from tenancy.commands import fail
from tenancy.engine import DatabaseUnavailable
from tenancy.scoping import UnknownTenant, tenant

_AT_ONCE = 20_000
_SQL = Path(__file__).parent / "sql"
_LOAD, _REMOVE, _CHECK_CODES, _CHECK_CASES = (
    (_SQL / f"{name}.sql").read_text(encoding="utf-8")
    for name in ("load_known_codes", "remove_known_codes", "check_case_codes", "check_open_cases")
)


async def load_codes(file: str, tenant: str, system: str, replace: bool = False) -> None:
    """
    Loads a tenant's list of codes from CSV: all of it, or nothing and why.

    :param file: UTF-8, a code and a description in each line; a header is skipped.
    :param tenant: The tenant's slug.
    :param system: CPT, HCPCS or ICD-10-CM.
    :param replace: Removes the codes of the list that the file does not have.
    """
    if system not in set(CodeSystem):
        fail(f"--system is one of {', '.join(known.value for known in CodeSystem)}")
    try:
        codes = read_codes(Path(file).read_bytes(), CodeSystem(system))  # noqa: ASYNC240  # A command line waits.
        print(await _load(tenant, CodeSystem(system), codes, replace=replace))
    except FaultyFile as faulty:
        print(*faulty.faults, sep="\n", file=sys.stderr)
        fail(f"nothing was loaded: {len(faulty.faults):,} faulty lines")
    except (UnknownTenant, OSError, DatabaseUnavailable, asyncpg.PostgresError) as error:
        fail(f"nothing was loaded: {error}")


async def _load(slug: str, system: CodeSystem, codes: list[Listed], *, replace: bool) -> str:
    """One transaction. What it did, in a line."""
    added = changed = removed = 0
    async with tenant(slug) as transaction:
        await transaction.fetch("SET LOCAL statement_timeout = '10min'")  # Longer than a request may take.
        for start in range(0, len(codes), _AT_ONCE):
            part = codes[start : start + _AT_ONCE]
            arguments: list[Any] = [[listed.code for listed in part], [listed.description for listed in part]]
            row = (await transaction.fetch(_LOAD, system.value, *arguments))[0]
            added, changed = added + row["added"], changed + row["changed"]
        if replace:
            kept = [listed.code for listed in codes]
            removed = (await transaction.fetch(_REMOVE, system.value, kept))[0]["removed"]
        is_procedure = system is not CodeSystem.ICD10CM
        checked = await (
            transaction.fetch(_CHECK_CODES, system.value) if is_procedure else transaction.fetch(_CHECK_CASES)
        )
    what = "codes of cases" if is_procedure else "open cases"
    return (
        f"loaded {len(codes):,} {system.value} codes of {slug}: {added:,} new, {changed:,} changed, {removed:,} removed"
        f"; marked {checked[0]['checked']:,} {what} anew"
    )
