"""The Django peer's API: its models of tables that it did not make, its serializers, its views and their addresses.

Each request is one transaction (ATOMIC_REQUESTS), bound to the tenant of X-Tenant-Id by its first statement. The trail
is written by hand. The database fills in what has a default; `search` is left out.
"""

from typing import Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import connection, models
from django.db.models.functions import Now
from django.shortcuts import get_object_or_404
from django.urls import include, path
from django.utils import timezone
from rest_framework import serializers, viewsets
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

PAGE_SIZE = 20
BIND = "SELECT set_config('role', 'fastlane_tenant', true), set_config('app.tenant_id', %s, true)"


class Status(models.TextChoices):
    """What the payer said so far."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    MORE_INFO_NEEDED = "more_info_needed"


class Priority(models.TextChoices):
    """How soon somebody must look."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class Row(models.Model):
    """What the tables have in common, whose defaults the database fills in."""

    id = models.UUIDField(primary_key=True, db_default=RandomUUID())
    tenant_id = models.UUIDField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True
        app_label = "peers"


class Case(Row):
    """A request for prior authorization."""

    ingestion_id = models.UUIDField(null=True)
    created_by = models.UUIDField()
    member_id_hash = models.CharField(max_length=255)
    payer = models.CharField(max_length=255)
    status = models.CharField(max_length=50, choices=Status)
    priority = models.CharField(max_length=50, choices=Priority, default=Priority.NORMAL)
    diagnosis_codes = ArrayField(models.CharField(max_length=20), default=list)
    confidence_json = models.JSONField()
    extracted_data = models.JSONField()
    metadata_json = models.JSONField(null=True)
    unknown_codes = ArrayField(models.CharField(max_length=20), null=True)
    previous_case_id = models.UUIDField(null=True)
    follow_up = models.TextField(null=True)
    submitted_at = models.DateTimeField(null=True)
    decision_due_at = models.DateTimeField(null=True)
    due_ruleset_id = models.UUIDField(null=True)
    due_ruleset_version = models.IntegerField(null=True)
    extended_until = models.DateTimeField(null=True)
    extension_reason = models.TextField(null=True)
    paused_at = models.DateTimeField(null=True)
    paused_seconds = models.IntegerField(db_default=0)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.UUIDField(null=True)
    denial_reason = models.TextField(null=True)
    authorization_number = models.TextField(null=True)
    valid_from = models.DateField(null=True)
    valid_until = models.DateField(null=True)
    approved_units = models.IntegerField(null=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(Row.Meta):
        managed = False
        db_table = "cases"


class CaseCode(Row):
    """A procedure that the case asks for."""

    case = models.ForeignKey(Case, models.CASCADE, related_name="codes")
    code_type = models.CharField(max_length=50)
    code = models.CharField(max_length=20)
    description = models.TextField(null=True)
    confidence = models.FloatField(null=True)
    is_known = models.BooleanField(null=True)

    class Meta(Row.Meta):
        managed = False
        db_table = "case_codes"
        ordering = ("-created_at", "id")


class Task(Row):
    """Something a person must do for a case."""

    case = models.ForeignKey(Case, models.CASCADE, related_name="tasks")
    assigned_to = models.UUIDField(null=True)
    title = models.CharField(max_length=255)
    description = models.TextField(null=True)
    status = models.CharField(max_length=50)
    priority = models.CharField(max_length=50)
    due_date = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    ruleset_id = models.UUIDField(null=True)
    ruleset_version = models.IntegerField(null=True)
    requirement_kind = models.TextField(null=True)
    requirement = models.TextField(null=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(Row.Meta):
        managed = False
        db_table = "tasks"
        ordering = ("-created_at", "id")


class AuditLog(Row):
    """Who did what to which row."""

    user_id = models.UUIDField()
    action = models.CharField(max_length=100)
    entity_type = models.CharField(max_length=100)
    entity_id = models.UUIDField()
    changes = models.JSONField()
    ip_address = models.CharField(max_length=45)
    user_agent = models.TextField()
    actor = models.CharField(max_length=255)

    class Meta(Row.Meta):
        managed = False
        db_table = "audit_logs"


def require_object(value: object) -> None:
    """JSON may be anything; these columns hold objects."""
    if not isinstance(value, dict):
        raise ValidationError("This must be a JSON object.")


class CaseSerializer(serializers.ModelSerializer):
    """A case as it is answered."""

    class Meta:
        model = Case
        fields = tuple(field.name for field in Case._meta.fields)
        read_only_fields = fields


class CodeSerializer(serializers.ModelSerializer):
    """A code of a case."""

    class Meta:
        model = CaseCode
        fields = (
            "id",
            "tenant_id",
            "case_id",
            "code_type",
            "code",
            "description",
            "confidence",
            "is_known",
            "created_at",
        )
        read_only_fields = fields


class TaskSerializer(serializers.ModelSerializer):
    """A task of a case."""

    class Meta:
        model = Task
        fields = tuple(field.attname for field in Task._meta.fields)
        read_only_fields = fields


class CaseDetailSerializer(CaseSerializer):
    """A case with what belongs to it."""

    codes = CodeSerializer(many=True, read_only=True)
    tasks = TaskSerializer(many=True, read_only=True)

    class Meta(CaseSerializer.Meta):
        fields = (*CaseSerializer.Meta.fields, "codes", "tasks")
        read_only_fields = fields


class CaseCreateSerializer(serializers.ModelSerializer):
    """What a client says of a new case."""

    class Meta:
        model = Case
        fields = ("member_id_hash", "payer", "priority", "diagnosis_codes", "confidence_json", "extracted_data")
        extra_kwargs = {  # noqa: RUF012 - REST framework reads it from the class.
            "confidence_json": {"validators": [require_object]},
            "extracted_data": {"validators": [require_object]},
        }


class CaseUpdateSerializer(serializers.ModelSerializer):
    """What a client may change."""

    class Meta:
        model = Case
        fields = ("status",)


class CaseViewSet(viewsets.ViewSet):
    """The six requests."""

    lookup_value_converter = "uuid"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Binds the transaction to the tenant before anything else is asked."""
        super().initial(request, *args, **kwargs)
        try:
            self.tenant_id = UUID(request.headers["X-Tenant-Id"])
            self.user_id = UUID(request.headers["X-User-Id"])
        except (KeyError, ValueError) as error:
            raise ValidationError("X-Tenant-Id and X-User-Id must be UUIDs.") from error
        with connection.cursor() as cursor:
            cursor.execute(BIND, [str(self.tenant_id)])

    def retrieve(self, request: Request, pk: UUID) -> Response:
        """W1, and W6 with its codes and tasks."""
        if request.query_params.get("__include") == "codes,tasks":
            case = get_object_or_404(Case.objects.prefetch_related("codes", "tasks"), pk=pk)
            return Response(CaseDetailSerializer(case).data)
        return Response(CaseSerializer(get_object_or_404(Case, pk=pk)).data)

    def list(self, request: Request) -> Response:
        """W2, and W3 with the exact count."""
        cases = Case.objects.filter(status=request.query_params.get("status"))
        answer = {"rows": CaseSerializer(cases.order_by("-created_at", "id")[:PAGE_SIZE], many=True).data}
        if request.query_params.get("__total") == "true":
            total = cases.count()
            answer |= {"total": total, "page": 1, "page_size": PAGE_SIZE, "total_pages": -(-total // PAGE_SIZE)}
        return Response(answer)

    def create(self, request: Request) -> Response:
        """W4."""
        body = CaseCreateSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        case = body.save(tenant_id=self.tenant_id, created_by=self.user_id, status=Status.PENDING)
        stored = CaseSerializer(case).data
        self.audit(case, "create", {"before": {}, "after": stored})
        return Response(stored, status=201)

    def partial_update(self, request: Request, pk: UUID) -> Response:
        """W5."""
        body = CaseUpdateSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        case = get_object_or_404(Case.objects.select_for_update(), pk=pk)
        before, case.status, case.updated_at = case.status, body.validated_data["status"], timezone.now()
        case.save(update_fields=["status", "updated_at"])
        self.audit(case, "update", {"before": {"status": before}, "after": {"status": case.status}})
        return Response(CaseSerializer(case).data)

    def audit(self, case: Case, action: str, changes: dict[str, Any]) -> None:
        """Adds to the trail, in the transaction of the change itself."""
        AuditLog.objects.create(
            tenant_id=self.tenant_id,
            user_id=self.user_id,
            action=action,
            entity_type="case",
            entity_id=case.id,
            changes=changes,
            ip_address="127.0.0.1",
            user_agent=self.request.headers.get("User-Agent", ""),
            actor=f"user:{self.user_id}",
        )


router = SimpleRouter(use_regex_path=False)
router.register("cases", CaseViewSet, basename="case")
urlpatterns = [path("api/", include(router.urls))]
