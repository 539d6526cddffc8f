"""The operations of the actions of a domain."""

from typing import Any

from piccolo.table import Table

from api.openapi.operations import WITH_BODY, headers, operation, success
from api.openapi.parameters import IDEMPOTENCY_KEY, ROW_ID, query
from api.openapi.schemas import NULL, Schema, either, json_object, ref
from tenancy.actions import Action, Created, Found


def action_paths(table: type[Table], action: Action) -> dict[str, Any]:
    """The path of an action of the table."""
    name, entity = table._meta.tablename, table.__name__
    places = {"row": f"/api/{name}/{{row_id}}/{action.name}/", "table": f"/api/{name}/{action.name}/"}
    path = places.get(action.place, f"/api/{action.name}/")
    of_row = action.place == "row"
    posts = action.method == "POST"
    schema = action.input.model_json_schema() if action.input else json_object({}, required=[])
    parameters = [IDEMPOTENCY_KEY] if posts else [_parameter(*item) for item in schema["properties"].items()]
    body = {"required": bool(schema.get("required")), "content": {"application/json": {"schema": schema}}}
    operation_id = f"{action.name}{entity}" if action.place != "api" else action.name
    described = operation(
        operation_id, name, action.summary, _answers(action, entity),
        *((404,) if of_row else ()), *(WITH_BODY if posts else ()),
        parameters=parameters, **({"requestBody": body} if posts else {}),
    )  # fmt: skip
    return {path: {**({"parameters": [ROW_ID]} if of_row else {}), action.method.lower(): described}}


def action_schemas(action: Action, entity: str, whole_row: Schema) -> dict[str, Schema]:
    """The schemas that the answer of an action is made of, by their names. `whole_row` is a row of its table."""
    told = _told(action) or {}
    schemas = {name: _without_titles(schema) for name, schema in told.get("$defs", {}).items()}
    if action.kind is Found and told:  # One object: a row forbids what it does not know.
        properties = {**whole_row["properties"], **_without_titles(told)["properties"]}
        required = [*whole_row["required"], *told.get("required", [])]
        schemas[_row_name(action, entity)] = json_object(properties, required=required)
    return schemas


def _row_name(action: Action, entity: str) -> str:
    return f"{entity}In{action.name.title()}"


def _told(action: Action) -> Schema | None:
    if action.answer is None:
        return None
    return action.answer.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")


def _without_titles(schema: Schema) -> Schema:
    """They would name a field once more, and be taken for names of types."""
    properties = {
        name: {key: value for key, value in item.items() if key != "title"}
        for name, item in schema.get("properties", {}).items()
    }
    return {**schema, **({"properties": properties} if properties else {})}


def _answers(action: Action, entity: str) -> dict[str, Schema]:
    whole = _told(action)
    told = whole and _without_titles({key: value for key, value in whole.items() if key != "$defs"})
    if action.kind is Created:
        created = headers("ETag", "Location", "Idempotent-Replayed")
        return {"201": success("The row that was created.", ref(f"{entity}Out"), created)}
    if action.kind is Found:
        row = ref(f"{entity}Out" if told is None else _row_name(action, entity))
        return {"200": success("The rows.", json_object({"rows": {"type": "array", "items": row}}))}
    return {str(action.status): success(f"{action.summary}.", told or either({"type": "object"}))}


def _parameter(name: str, schema: Schema) -> Schema:
    """A query has no null: what may be one is left out."""
    about = {key: value for key, value in schema.items() if key not in ("description", "title", "default", "anyOf")}
    alternatives = [item for item in schema.get("anyOf", ()) if item != NULL]
    about |= alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives} if alternatives else {}
    return query(name, about, schema.get("description", name))
