"""The OpenAPI document as a page that works without scripts and loads nothing."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from api.pages import page

Document = Mapping[str, Any]

_VERBS = ("get", "post", "put", "patch", "delete")


def docs_page(openapi: Document) -> str:
    """A section for each table: its operations, parameters and fields."""
    tags = [tag["name"] for tag in openapi["tags"]]
    described = {tag["name"]: tag["description"] for tag in openapi["tags"]}
    contents = "".join(f'<a href="#{tag}">{tag}</a> ' for tag in ("me", *tags))
    sections = [_section(openapi, tag, described.get(tag, "")) for tag in ("me", *tags)]
    intro = f"<h1>REST API</h1>{_paragraphs(openapi['info']['description'])}"
    more = '<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>'
    return page("REST API", f"{intro}{more}<nav>{contents}</nav>{''.join(sections)}")


def _section(openapi: Document, tag: str, description: str) -> str:
    found = [
        _operation(openapi, path, verb, item[verb])
        for path, item in openapi["paths"].items()
        for verb in _VERBS
        if verb in item and tag in item[verb]["tags"]
    ]
    fields = _fields(openapi, tag)
    return f'<h2 id="{tag}">{tag}</h2><p>{escape(description)}</p>{fields}{"".join(found)}'


def _operation(openapi: Document, path: str, verb: str, operation: Document) -> str:
    parameters = [_resolved(openapi, parameter) for parameter in operation.get("parameters", ())]
    statuses = ", ".join(operation["responses"])
    rows = [(f"<code>{escape(p['name'])}</code>", _type(p["schema"]), escape(p["description"])) for p in parameters]
    return (
        f'<details><summary><b class="verb">{verb.upper()}</b> <code>{escape(path)}</code> '
        f"{escape(operation['summary'])}</summary><p>Answers {statuses}.</p>{_table(rows)}</details>"
    )


def _fields(openapi: Document, tag: str) -> str:
    """The columns of the table that the tag is about."""
    listing = openapi["paths"].get(f"/api/{tag}/", {}).get("get", {}).get("operationId", "")
    schema = openapi["components"]["schemas"].get(f"{listing.removeprefix('list')}Out")
    if schema is None:
        return ""
    columns = ((name, schema["properties"][name]) for name in schema["required"])
    return (
        "<details><summary>Fields</summary>"
        + _table(
            (f"<code>{escape(name)}</code>", _type(field), _marked(field.get("description", "")))
            for name, field in columns
        )
        + "</details>"
    )


def _resolved(openapi: Document, parameter: Document) -> Document:
    name = parameter.get("$ref", "").rpartition("/")[2]
    found: Document = openapi["components"]["parameters"][name] if name else parameter
    return found


def _type(schema: Document) -> str:
    """A schema in a few words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(item) for item in schema["anyOf"] if "enum" not in item)) or "choice"
    if "$ref" in schema:
        return escape(str(schema["$ref"]).rpartition("/")[2])
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    kind = schema.get("format") or schema.get("type", "any")
    limits = (("up to", "maxLength"), ("at least", "minimum"), ("at most", "maximum"))
    return " ".join([str(kind), *(f"{word} {schema[limit]}" for word, limit in limits if limit in schema)])


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    cells = "".join(f"<tr><td>{name}</td><td>{kind}</td><td>{meaning}</td></tr>" for name, kind, meaning in rows)
    return f"<table>{cells}</table>" if cells else ""


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{paragraph}</p>" for paragraph in _marked(text.strip()).split("\n\n"))


def _marked(text: str) -> str:
    """The few marks of Markdown that descriptions use."""
    html = escape(text)
    for mark, tag in (("**", "b"), ("`", "code")):
        parts = html.split(mark)
        html = "".join(part if index % 2 == 0 else f"<{tag}>{part}</{tag}>" for index, part in enumerate(parts))
    return html
