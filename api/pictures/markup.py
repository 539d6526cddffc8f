"""HTML and SVG as a tree: what is text in it cannot become markup, and no tag is left open."""

import re
from xml.etree.ElementTree import Element, tostring

Child = Element | str | None
Attributes = dict[str, str | float]
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def element(name: str, /, *children: Child, **attributes: str | float | None) -> Element:
    """An element. An attribute that is None is left out; of its name a last underscore is, others are hyphens."""
    made = Element(name, {_name(key): _text(value) for key, value in attributes.items() if value is not None})
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif child is not None and last is None:
            made.text = (made.text or "") + _text(child)
        elif child is not None and last is not None:
            last.tail = (last.tail or "") + _text(child)
    return made


def document(root: Element) -> str:
    """A whole page."""
    return "<!DOCTYPE html>\n" + tostring(root, encoding="unicode", method="html")


def _name(key: str) -> str:
    return key.removesuffix("_").replace("_", "-")


def _text(value: str | float) -> str:
    """What no document may hold, somebody may have stored."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", value) if isinstance(value, str) else f"{value:g}"
