"""Makes the login role that `DATABASE_URL` names: it owns nothing, inherits nothing, and may
become one of the acting roles for a transaction."""

from typing import Any

import asyncpg

from tenancy.context import DatabaseRole
from tenancy.database_url import DatabaseURL


class ProvisionError(Exception):
    """The role cannot be made as it must be; the message says why."""


async def provision(owner: DatabaseURL, app: DatabaseURL) -> None:
    """Creates or updates the role. Idempotent. Raises `ProvisionError`, `OSError`."""
    if app.user == owner.user:
        raise ProvisionError("DATABASE_URL and DIRECT_DATABASE_URL name the same role; the app needs one of its own")
    connection = await asyncpg.connect(**owner.connect_arguments())
    try:
        async with connection.transaction():
            await _create_or_update(connection, app)
            await _grant_memberships(connection, app.user)
            await _refuse_temporary_tables(connection)
        await _verify(connection, app.user)
    except asyncpg.UndefinedObjectError as error:
        raise ProvisionError(f"run `piccolo migrations forwards all` first ({error})") from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise ProvisionError(f"{owner.user} may not manage the role {app.user}: {error}") from error
    finally:
        await connection.close()


async def _create_or_update(connection: Any, app: DatabaseURL) -> None:
    exists = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", app.user)
    verb = "ALTER" if exists else "CREATE"
    statement = await connection.fetchval(
        """
        SELECT format($1::text || ' ROLE %I LOGIN NOINHERIT'
                      || CASE WHEN $3 <> '' THEN ' PASSWORD %L' ELSE '' END, $2::text, $3::text)
        """,
        verb,
        app.user,
        app.password,
    )
    await connection.execute(statement)


async def _grant_memberships(connection: Any, login: str) -> None:
    """From PostgreSQL 16 on, inheritance belongs to the grant and not to the role alone."""
    version: int = await connection.fetchval("SELECT current_setting('server_version_num')::int")
    options = " WITH INHERIT FALSE, SET TRUE" if version >= 160_000 else ""
    roles = ", ".join(role.value for role in DatabaseRole)
    statement = await connection.fetchval(f"SELECT format('GRANT {roles} TO %I{options}', $1::text)", login)
    await connection.execute(statement)


async def _refuse_temporary_tables(connection: Any) -> None:
    """A temporary table outlives its transaction on a pooled connection. Where the owner of the
    tables does not own the database, PostgreSQL warns and changes nothing."""
    await connection.execute(
        await connection.fetchval("SELECT format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database())")
    )


async def _verify(connection: Any, login: str) -> None:
    reasons = await login_role_faults(connection, login)
    if reasons:
        raise ProvisionError("; ".join(reasons))


async def login_role_faults(connection: Any, login: str) -> list[str]:
    """Why the role must not serve requests, one line a reason."""
    role = await connection.fetchrow(
        """
        SELECT rolsuper, rolbypassrls, rolcreaterole, rolinherit,
               EXISTS (SELECT FROM pg_class WHERE relowner = r.oid) AS owns,
               EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                        WHERE m.member = r.oid AND g.rolname <> ALL ($2::text[])) AS becomes
          FROM pg_roles r WHERE rolname = $1
        """,
        login,
        [acting.value for acting in DatabaseRole],
    )
    if role is None:
        return [f"the role {login} does not exist"]
    faults = {
        "is a superuser": role["rolsuper"],
        "has BYPASSRLS": role["rolbypassrls"],
        "has CREATEROLE": role["rolcreaterole"],
        "inherits the rights of the roles that it may become": role["rolinherit"],
        "owns tables": role["owns"],
        "is a member of other roles than the acting ones": role["becomes"],
    }
    return [f"the role {login} {fault}" for fault, present in faults.items() if present]
