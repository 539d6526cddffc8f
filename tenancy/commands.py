"""`piccolo tenancy …`: tokens, URLs, roles, tenants, users and operators."""

import asyncio
import secrets
import sys
import uuid
from typing import NoReturn

import asyncpg
from piccolo.query.functions.aggregate import Count

from tenancy.authenticators import OperatorAuthenticator
from tenancy.context import DatabaseRole, Scope
from tenancy.database_url import InvalidDatabaseURL
from tenancy.operators import Operator
from tenancy.provision import ProvisionError
from tenancy.provision import provision as provision_role
from tenancy.scoping import UnknownTenant, UnknownUser, database, platform, tenant
from tenancy.tables import Role, Tenant, User
from tenancy.tokens import DevelopmentKeys

DEFAULT_TOKEN_MINUTES = 480


def fail(message: str) -> NoReturn:
    """One line on stderr, and exit status 1."""
    print(message, file=sys.stderr)
    raise SystemExit(1)


async def issue_token(email: str, tenant: str = "", minutes: int = DEFAULT_TOKEN_MINUTES) -> None:
    """
    Prints one bearer token for a user. Development only.

    :param email: The user's email.
    :param tenant: The tenant's slug, where several tenants have a user of that email.
    :param minutes: How long the token is valid.
    """
    settings = database().databases.settings
    if settings.is_production:
        fail("issue_token is for development: in production the identity provider issues tokens")
    if settings.auth_jwks_url:
        fail("issue_token needs the development key, and AUTH_JWKS_URL names an identity provider instead")
    if minutes < 1:
        fail("--minutes is at least 1")
    async with platform():
        query = User.objects(User.tenant_id).where(User.email == email)
        if tenant:
            query = query.where(User.tenant_id.slug == tenant)
        users = await query
        if not users:
            fail(f"no user {email!r}" + (f" in tenant {tenant!r}" if tenant else ""))
        if len(users) > 1:
            slugs = ", ".join(sorted(user.tenant_id.slug for user in users))
            fail(f"{email!r} is a user of several tenants ({slugs}); choose one with --tenant=SLUG")
        user = users[0]
        if user.auth_id is None:
            user.auth_id = str(uuid.uuid4())
            await User.update({User.auth_id: user.auth_id}).where(User.id == user.id)
    print(DevelopmentKeys(settings.data_dir).sign(user.auth_id, settings, minutes))


def db_url(direct: bool = False) -> None:
    """
    Prints the URL of the running database.

    :param direct: The owner's URL instead of the app's.
    """
    databases = database().databases
    try:
        print(databases.direct_url() if direct else databases.app_url())
    except LookupError as error:
        fail(str(error))


async def provision() -> None:
    """
    Creates or updates the login role that DATABASE_URL names. Needs DIRECT_DATABASE_URL.
    """
    databases = database().databases
    try:
        await provision_role(databases.direct(), databases.app())
    except (LookupError, InvalidDatabaseURL, ProvisionError, OSError, asyncpg.PostgresError) as error:
        fail(f"not provisioned: {error}")
    print(f"provisioned {databases.app().user}", file=sys.stderr)


async def create_tenant(slug: str, name: str, time_zone: str = "UTC") -> None:
    """
    Creates a tenant.

    :param slug: URL-safe identifier: lower-case letters, digits and dashes.
    :param name: Display name.
    :param time_zone: Where its business days are counted, as in the tz database: America/New_York.
    """
    try:
        async with platform():
            await Tenant.insert(Tenant(slug=slug, name=name, time_zone=time_zone))
    except asyncpg.UniqueViolationError:
        fail(f"a tenant {slug!r} exists already")
    except asyncpg.InvalidParameterValueError:
        fail(f"no time zone is called {time_zone!r}")
    except (asyncpg.CheckViolationError, asyncpg.StringDataRightTruncationError):
        fail(
            "a slug has up to 100 lower-case letters and digits with single dashes between, a name up to 255 characters"
        )
    print(f"created tenant {slug}")


async def create_user(tenant: str, email: str, role: str, name: str = "", auth_id: str = "") -> None:
    """
    Creates a user of a tenant.

    :param tenant: The tenant's slug.
    :param email: Unique within the tenant.
    :param role: admin, clinician or staff.
    :param name: Full name.
    :param auth_id: The `sub` of the person's tokens at the identity provider.
    """
    if "@" not in email or max(len(email), len(name), len(auth_id)) > 255:
        fail("a user has an email, and email, name and auth_id have up to 255 characters each")
    if role not in set(Role):
        fail(f"a role is one of {', '.join(r.value for r in Role)}")
    try:
        async with platform():
            found = await Tenant.objects().where(Tenant.slug == tenant).first()
            if found is None:
                fail(f"no tenant is called {tenant!r}")
            await User.insert(
                User(tenant_id=found.id, email=email, name=name or None, role=role, auth_id=auth_id or None)
            )
    except asyncpg.UniqueViolationError:
        fail(f"{tenant!r} has a user {email!r} already, or another user has this auth_id")
    print(f"created user {email} of {tenant}")


async def create_operator(username: str, tenant: str = "", email: str = "", password: str = "") -> None:
    """
    Creates an operator of the admin GUI and prints the password, if it was generated.

    :param username: What the operator logs in with.
    :param tenant: The slug of the one tenant; without it, an operator of the whole platform.
    :param email: The tenant's user that the operator acts as.
    :param password: Generated and printed once when left out.
    """
    chosen = password or secrets.token_urlsafe(12)
    try:
        if await add_operator(username, chosen, tenant, email):
            print(f"created operator {username}" + ("" if password else f" with password {chosen}"))
        else:
            fail(f"an operator {username!r} exists already")
    except (UnknownTenant, UnknownUser, ValueError) as error:
        fail(str(error))


async def add_operator(username: str, password: str, slug: str = "", email: str = "") -> bool:
    """False when the name is taken. Raises `UnknownTenant`, `UnknownUser`, or `ValueError`
    for a password that is too short or a tenant without a user to act as."""
    Operator._validate_password(password)
    user = None
    if slug:
        async with tenant(slug):
            user = await User.objects().where(User.email == email).first()
        if user is None:
            raise UnknownUser(f"{slug!r} has no user {email!r} that the operator could act as")
    hashed = await asyncio.to_thread(Operator.hash_password, password)
    scope = Scope(role=DatabaseRole.platform, actor="script:operators")
    async with database().transaction(scope=scope):
        if await Operator.exists().where(Operator.username == username):
            return False
        await Operator(  # type: ignore[no-untyped-call]  # Piccolo's user has no annotations.
            username=username,
            password=hashed,
            email=f"{username}@operators.invalid",
            active=True,
            admin=True,
            superuser=user is None,
            tenant_id=user.tenant_id if user else None,
            user_id=user.id if user else None,
        ).save()
    return True


async def forget_authenticator(username: str) -> None:
    """
    Lets an operator who has lost the authenticator app log in with the password alone, and set up another.

    :param username: What the operator logs in with.
    """
    table = OperatorAuthenticator
    async with platform():
        forgotten = await table.delete().where(table.operator_id.username == username).returning(table.id)
    if not forgotten:
        fail(f"no operator {username!r} has an authenticator")
    print(f"{username} logs in without a code")


async def tenant_count() -> int:
    """How many tenants there are."""
    async with platform():
        row = await Tenant.select(Count()).first()
    return int(row["count"]) if row else 0
