"""The page around the figures: who it is of, a form to ask for less, a few facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from pydantic import BaseModel

from api.pictures.figures import figure_of
from api.pictures.markup import Attributes, document, element
from api.pictures.numbers import worded
from tenancy.pictures import Pictures

_STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands above the pictures. `choices` are tenants to choose from, by slug; `asked` is what the form holds."""

    title: str
    subject: str
    back: str
    input: type[BaseModel]
    asked: Mapping[str, str]
    choices: Mapping[str, str]
    error: str | None = None


def picture_page(frame: Frame, pictures: Pictures | None) -> str:
    """A whole page that runs no script and loads nothing. Without pictures: why there are none."""
    parts = [] if pictures is None else [_facts(pictures), _figures(pictures)]
    remark = element("footer", element("p", pictures.remark)) if pictures else None
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{frame.title} · {frame.subject}"),
        element("style", _STYLE),
    )
    return document(
        element("html", head, element("body", _signs(), _header(frame), element("main", *parts), remark), lang="en")
    )


def _header(frame: Frame) -> Element:
    return element(
        "header",
        element("nav", element("a", "← Admin", href=frame.back)),
        element("h1", frame.title),
        element("p", " · ".join([frame.subject, *(f"{name} {frame.asked[name]}" for name in _fields(frame))])),
        _form(frame),
        element("p", frame.error, role="alert", class_="error") if frame.error else None,
    )


def _fields(frame: Frame) -> list[str]:
    """What was asked beside the tenant, of what can be: it stands on paper too, where the form does not."""
    return [name for name in frame.input.model_json_schema()["properties"] if name in frame.asked]


def _form(frame: Frame) -> Element:
    fields = []
    if frame.choices:
        chosen = frame.asked.get("tenant", "")
        options = [
            element("option", name, value=slug, selected="selected" if slug == chosen else None)
            for slug, name in {"": "All tenants", **frame.choices}.items()
        ]
        fields.append(element("label", "Tenant", element("select", *options, name="tenant")))
    for name, schema in frame.input.model_json_schema()["properties"].items():
        is_date = any(kind.get("format") == "date" for kind in [schema, *schema.get("anyOf", ())])
        field = element(
            "input", name=name, type="date" if is_date else "text", value=frame.asked.get(name, ""),
            title=schema.get("description"),
        )  # fmt: skip
        fields.append(element("label", name.capitalize(), field))
    return element("form", *fields, element("button", "Show", type="submit"), method="get")


def _facts(pictures: Pictures) -> Element:
    told = [
        element("div", element("dt", fact.label), element("dd", worded(fact.value, fact.unit)))
        for fact in pictures.facts
    ]
    return element("dl", *told, class_="facts")


def _figures(pictures: Pictures) -> Element:
    figures: Sequence[Element] = [figure_of(figure, f"figure-{n}") for n, figure in enumerate(pictures.figures, 1)]
    return element("div", *figures, class_="figures")


def _signs() -> Element:
    """What pieces of a bar are hatched with."""
    square: Attributes = {"width": 6, "height": 6, "patternUnits": "userSpaceOnUse"}
    stripe = element("line", x1=0, y1=0, x2=0, y2=6, stroke_width=2.5)
    stripes = element("pattern", stripe, id="stripes", patternTransform="rotate(45)", **square)
    dots = element("pattern", element("circle", cx=3, cy=3, r=1.1), id="dots", **square)
    return element("svg", element("defs", stripes, dots), class_="signs", width=0, height=0, aria_hidden="true")
