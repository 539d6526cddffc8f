"""Whether the tables and their migrations say the same. `python -m tests.drift` asks, for `make check`.

Both sides are Python: no database is needed, and none is opened.
"""

import asyncio
import contextlib
import io
import sys

from piccolo.apps.migrations.commands.new import AutoMigrationManager
from piccolo.conf.apps import Finder


async def find_drift() -> dict[str, list[str]]:
    """By app, the statements that a new migration would hold; an app without any is left out."""
    found = {}
    for name, config in Finder().get_app_registry().app_configs.items():
        # "n": a renamed column counts as one dropped and one added, and nobody is asked at a prompt.
        with contextlib.redirect_stdout(io.StringIO()):
            altered = await AutoMigrationManager(auto_input="n").get_alter_statements(config)
        statements = [statement for group in altered for statement in group.statements]
        if statements:
            found[name] = statements
    return found


def main() -> int:
    """Prints what differs. 0: nothing does."""
    drift = asyncio.run(find_drift())
    for app, statements in drift.items():
        sys.stderr.write(f"The tables of {app} and its migrations differ; a new migration would hold:\n")
        sys.stderr.writelines(f"  {' '.join(statement.split())}\n" for statement in statements)
    return 1 if drift else 0


if __name__ == "__main__":
    sys.exit(main())
