"""A tenant's own lists of codes, which it has a licence for: none is shipped."""

from enum import Enum

from piccolo.columns import UUID, ForeignKey, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.constraints import Unique

from tenancy.tables import Tenant, TenantTable


class CodeSystem(str, Enum):
    """The code systems that a tenant can have a list of."""

    CPT = "CPT"
    HCPCS = "HCPCS"
    ICD10CM = "ICD-10-CM"


class KnownCode(TenantTable, tablename="known_codes", tags=["internal"], help_text="A code of a tenant's own list."):
    """Loaded by the command line. Internal: isolated, and neither served nor audited."""

    id = UUID(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False, default=None, on_delete=OnDelete.cascade)
    system = Varchar(length=20, choices=CodeSystem, required=True)
    code = Varchar(length=20, required=True, help_text="As it stands in a case: upper case, with the dot.")
    description = Text(null=True, default=None, help_text="What the code stands for.")
    created_at = Timestamptz()

    known_codes_tenant_id_system_code_key = Unique([tenant_id, system, code])
