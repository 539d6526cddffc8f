"""Two clinics with a user of each role and a row in each table, to be kept apart."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from audit.tables import AccessLog, AuditLog, Event
from cases.tables import Case, CaseCode, Ingestion, Ruleset, Task
from tenancy.context import DatabaseRole, Scope
from tenancy.scoping import database, platform, tenant
from tenancy.settings import Settings
from tenancy.tables import Role, Tenant, User
from tenancy.tokens import DevelopmentKeys

TABLES = (
    *("tenants", "users", "ingestions", "cases", "case_codes", "tasks", "rulesets"),
    *("events", "audit_logs", "access_logs"),
)

# The rows that come by looking, in SQL: whoever compares before and after leaves them out.
RECORDED_LOOKS = {"audit_logs": "action = 'view'", "access_logs": "true"}


@dataclass
class Clinic:
    """A tenant. `rows` has the id of one row of each table, `tokens` one token of each role."""

    slug: str
    id: UUID
    rows: dict[str, UUID] = field(default_factory=dict)
    users: dict[Role, UUID] = field(default_factory=dict)
    tokens: dict[Role, str] = field(default_factory=dict)

    def sign_in(self, settings: Settings) -> None:
        """A token for each user, which a service of these settings accepts."""
        keys = DevelopmentKeys(settings.data_dir)
        for role in Role:
            self.tokens[role] = keys.sign(f"{self.slug}-{role.value}", settings, minutes=60)

    def headers(self, role: Role = Role.admin) -> dict[str, str]:
        """The authorization of the clinic's user of that role."""
        return {"Authorization": f"Bearer {self.tokens[role]}"}

    def body(self, table: str, **changes: Any) -> dict[str, Any]:
        """A valid body to create a row; of tables that nobody creates over HTTP, a plausible one."""
        document = {"source": "email"}
        bodies: dict[str, dict[str, Any]] = {
            "tenants": {"name": "Renamed"},
            "users": {"email": "new@example.com", "role": "staff"},
            "ingestions": {"source_type": "email", "source_metadata": {"email": {}}, "status": "pending"},
            "cases": {
                "member_id_hash": "hash_new",
                "payer": "Aetna",
                "status": "pending",
                "diagnosis_codes": ["M79.3"],
                "confidence_json": {"overall": 0.5, "fields": {}},
                "extracted_data": document,
            },
            "case_codes": {"case_id": str(self.rows["cases"]), "code_type": "CPT", "code": "72148"},
            "tasks": {"case_id": str(self.rows["cases"]), "title": "Call the payer"},
            "rulesets": {"payer": "Aetna", "procedure": "72148", "rules_json": {"requirements": []}},
            "events": {"event_type": "forged"},
            "audit_logs": {"action": "view", "entity_type": "case", "entity_id": str(self.rows["cases"])},
            "access_logs": {"access": "list", "method": "GET", "path": "/", "status": 200, "actor": "nobody"},
        }
        return bodies[table] | changes


async def create_clinics() -> str:
    """Creates north and south on the engine's database, outside of any app. Their ids, as JSON."""
    clinics = [asdict(await _create_clinic(slug)) for slug in ("north", "south")]
    return json.dumps(clinics, default=str)


def load_clinics(created: str, settings: Settings) -> tuple[Clinic, Clinic]:
    """North and south of a database that was copied from theirs, with tokens for a service of these settings."""
    north, south = [_of_json(**values) for values in json.loads(created)]
    for clinic in (north, south):
        clinic.sign_in(settings)
    return north, south


def _of_json(slug: str, id: str, rows: dict[str, str], users: dict[str, str], tokens: dict[str, str]) -> Clinic:
    return Clinic(
        slug,
        UUID(id),
        {table: UUID(row) for table, row in rows.items()},
        {Role(role): UUID(user) for role, user in users.items()},
        {Role(role): token for role, token in tokens.items()},
    )


async def _create_clinic(slug: str) -> Clinic:
    async with platform():
        row = Tenant(slug=slug, name=slug.title())
        await row.save()
        clinic = Clinic(slug, row.id, {"tenants": row.id})
        for role in Role:
            user = User(
                tenant_id=row.id,
                email=f"{role.value}@{slug}.com",
                name="A B",
                role=role,
                auth_id=f"{slug}-{role.value}",
            )
            await user.save()
            clinic.users[role] = user.id
    look = {"tenant_id": str(row.id), "actor": "nobody", "access": "list", "method": "GET", "path": "/", "status": 200}
    async with database().transaction(scope=Scope(DatabaseRole.service, actor="test")) as transaction:
        await transaction.fetch("SELECT audit.record_looks_1(NULL, $1)", json.dumps([look]))
    # Somebody who created nothing, and can be deleted.
    async with tenant(slug, f"admin@{slug}.com"):
        spare = User(email=f"spare@{slug}.com", role=Role.staff)
        await spare.save()
        ingestion = Ingestion(source_type="email", source_metadata="{}", status="pending")
        await ingestion.save()
        case = Case(
            member_id_hash=f"hash_{slug}",
            payer="Cigna",
            diagnosis_codes=["M25.561"],
            confidence_json=json.dumps({"overall": 1}),
            extracted_data="{}",
            ingestion_id=ingestion.id,
        )
        await case.save()
        code = CaseCode(case_id=case.id, code_type="CPT", code="97110")
        await code.save()
        task = Task(case_id=case.id, assigned_to=spare.id, title="Review")
        await task.save()
        ruleset = Ruleset(payer="Cigna", procedure="97110", rules_json="{}")
        await ruleset.save()
        event = await Event.objects().first()
        entry = await AuditLog.objects().where(AuditLog.entity_id == case.id).first()
        access = await AccessLog.objects().first()
        assert event is not None
        assert entry is not None
        assert access is not None
        created: tuple[Any, ...] = (spare, ingestion, case, code, task, ruleset, event, entry, access)
        clinic.rows |= {table: row.id for table, row in zip(TABLES[1:], created, strict=True)}
    return clinic
