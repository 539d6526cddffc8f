"""`piccolo tenancy seed` and `reset`."""

from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.forwards import run_forwards

from demo.seed import load_demo
from tenancy.commands import fail, provision
from tenancy.scoping import database


async def seed() -> None:
    """
    Loads the two demo clinics and their operators. Idempotent.
    """
    settings = database().databases.settings
    if settings.is_production:
        fail("demo data does not belong into production")
    given = settings.demo_password.get_secret_value() if settings.demo_password else None
    generated = await load_demo(given)
    print("demo data is there" + (f"; the demo operators' password is {generated}" if generated else ""))


async def reset(yes: bool = False) -> None:
    """
    Deletes everything, migrates anew and seeds. Asks first.

    :param yes: Do not ask.
    """
    engine = database()
    if engine.databases.settings.is_production:
        fail("reset does not run in production")
    where = engine.databases.direct()
    question = f"Delete everything in the database {where.database} at {where.host}? [y/N] "
    if not (yes or _agrees(question)):
        fail("nothing was deleted")
    with engine.as_owner():
        await run_backwards("all", auto_agree=True)
        forwards = await run_forwards("all")
    if not forwards.success:
        fail("the migrations failed")
    await provision()
    if engine.databases.settings.seed:
        await seed()


def _agrees(question: str) -> bool:
    """Without anybody to ask, the answer is no."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False
