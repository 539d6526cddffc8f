"""Registers the app's tables, migrations and commands with Piccolo."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from tenancy.authenticators import OperatorAuthenticator
from tenancy.commands import (
    create_operator,
    create_tenant,
    create_user,
    db_url,
    forget_authenticator,
    issue_token,
    provision,
)
from tenancy.idempotency import IdempotencyKey
from tenancy.invitations import Invitation
from tenancy.operators import Operator, OperatorSession
from tenancy.schema_document import write_schema_document
from tenancy.tables import Tenant, User

APP_CONFIG = AppConfig(
    app_name="tenancy",
    migrations_folder_path=Path(__file__).parent / "piccolo_migrations",
    table_classes=[Tenant, User, IdempotencyKey, Operator, OperatorSession, OperatorAuthenticator, Invitation],
    migration_dependencies=[],
    commands=[
        *(issue_token, db_url, provision, create_tenant, create_user, create_operator, forget_authenticator),
        write_schema_document,
    ],
)
