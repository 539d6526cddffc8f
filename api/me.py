"""Who one is, and what one may do."""

from typing import Any

from litestar import Request, Response, get
from litestar.datastructures import State

from api.encoding import dump_json
from api.problems import Problem
from api.scope import identity_of
from tenancy.permissions import permissions_of
from tenancy.tables import Tenant, User


@get("/api/me")
async def me(request: Request[Any, Any, State]) -> Response[bytes]:
    """The user, the tenant, and what the role may do."""
    identity = identity_of(request.scope)
    user = await User.select(User.id, User.email, User.name, User.role).where(User.id == identity.user_id).first()
    tenant = await Tenant.select(Tenant.id, Tenant.slug, Tenant.name).first()
    if user is None or tenant is None:
        raise Problem(403, "This person is not a user of any tenant.")
    permissions = permissions_of(identity.role)
    body = {"user": user, "tenant": tenant, "role": identity.role.value, "permissions": permissions}
    return Response(dump_json(body), media_type="application/json")
