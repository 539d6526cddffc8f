"""The nine tables as the seed's Prisma models have them, one line a column.

`column type` with `?` where NULL may be; `=value` is the default, where `uuid` is Prisma's
`uuid()`, and `now` stands for `now()` and `@updatedAt`; `index` and `unique` are the
single-column ones; `-> table action` is the foreign key with its ON DELETE. A line that
begins with `@` is a key or index over several columns. `tenant_id` of case_codes and tasks
is the contract's addition.
"""

from dataclasses import dataclass, field

MODELS = """
tenants
    id              uuid =uuid
    slug            varchar(100) unique
    name            varchar(255)
    created_at      timestamptz =now
    updated_at      timestamptz =now
users
    id              uuid =uuid
    tenant_id       uuid index -> tenants cascade
    email           varchar(255)
    name            varchar(255)?
    role            varchar(50)
    auth_id         varchar(255)? unique index
    created_at      timestamptz =now
    updated_at      timestamptz =now
    @unique email tenant_id
ingestions
    id              uuid =uuid
    tenant_id       uuid index -> tenants cascade
    source_type     varchar(50)
    source_metadata jsonb
    storage_path    text?
    status          varchar(50) index
    error_message   text?
    created_at      timestamptz =now index
    updated_at      timestamptz =now
cases
    id              uuid =uuid
    tenant_id       uuid index -> tenants cascade
    ingestion_id    uuid? -> ingestions set_null
    created_by      uuid -> users cascade
    member_id_hash  varchar(255) index
    payer           varchar(255) index
    status          varchar(50) index
    priority        varchar(50) =normal index
    diagnosis_codes varchar(20)[]
    confidence_json jsonb
    extracted_data  jsonb
    metadata_json   jsonb?
    created_at      timestamptz =now index
    updated_at      timestamptz =now
case_codes
    id              uuid =uuid
    tenant_id       uuid index -> tenants cascade
    case_id         uuid index -> cases cascade
    code_type       varchar(50)
    code            varchar(20)
    description     text?
    confidence      float8?
    created_at      timestamptz =now
    @index code_type code
tasks
    id              uuid =uuid
    tenant_id       uuid index -> tenants cascade
    case_id         uuid index -> cases cascade
    assigned_to     uuid? index -> users set_null
    title           varchar(255)
    description     text?
    status          varchar(50) =pending index
    priority        varchar(50) =normal
    due_date        timestamptz? index
    completed_at    timestamptz?
    created_at      timestamptz =now
    updated_at      timestamptz =now
rulesets
    id              uuid =uuid
    tenant_id       uuid index -> tenants cascade
    payer           varchar(255) index
    procedure       varchar(255) index
    rules_json      jsonb
    is_active       bool =true index
    created_at      timestamptz =now
    updated_at      timestamptz =now
events
    id              uuid =uuid
    tenant_id       uuid index -> tenants cascade
    user_id         uuid? -> users set_null
    event_type      varchar(100) index
    entity_type     varchar(100)?
    entity_id       uuid?
    metadata        jsonb?
    created_at      timestamptz =now index
    @index entity_type entity_id
audit_logs
    id              uuid =uuid
    tenant_id       uuid index -> tenants cascade
    user_id         uuid? index -> users set_null
    action          varchar(100) index
    entity_type     varchar(100)
    entity_id       uuid
    changes         jsonb?
    ip_address      varchar(45)?
    user_agent      text?
    created_at      timestamptz =now index
    @index entity_type entity_id
"""


@dataclass
class Model:
    """One table. Columns map to (type, nullable, default), references to (table, action)."""

    columns: dict[str, tuple[str, bool, str]] = field(default_factory=dict)
    references: dict[str, tuple[str, str]] = field(default_factory=dict)
    indexes: set[tuple[str, ...]] = field(default_factory=set)
    uniques: set[tuple[str, ...]] = field(default_factory=set)

    def read(self, line: str) -> None:
        """Adds what one line of `MODELS` says."""
        definition, _, reference = line.partition("->")
        name, *words = definition.split()
        if name.startswith("@"):
            {"@index": self.indexes, "@unique": self.uniques}[name].add(tuple(words))
            return
        default = next((word[1:] for word in words if word.startswith("=")), "")
        self.columns[name] = (words[0].removesuffix("?"), words[0].endswith("?"), default)
        if "index" in words:
            self.indexes.add((name,))
        if "unique" in words:
            self.uniques.add((name,))
        if reference:
            table, action = reference.split()
            self.references[name] = (table, action)


def read_models() -> dict[str, Model]:
    """The models by table name, in the seed's order."""
    models: dict[str, Model] = {}
    for line in MODELS.strip().splitlines():
        if line.startswith(" "):
            models[next(reversed(models))].read(line)
        else:
            models[line] = Model()
    return models
