"""Reads HTML without mercy, and the tables in it."""

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder

VOID = {"meta", "input", "br", "hr", "img", "link"}


class Strict(HTMLParser):
    """Builds a tree: each tag is closed in its order, and no attribute is given twice."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self._builder = TreeBuilder()
        self.feed(text)
        super().close()
        assert self._open == []
        self.root: Element = self._builder.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), tag
        self._builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self._builder.end(tag)
        else:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self._builder.end(tag)

    def handle_data(self, data: str) -> None:
        if self._open:
            self._builder.data(data)


def text_of(node: Element) -> str:
    """All text in it."""
    return "".join(node.itertext())


def tables_of(root: Element) -> dict[str, list[list[Any]]]:
    """Of each table by its caption, the rows: heads as text, cells as the number that they stand for."""
    return {text_of(table.findall("caption")[0]): list(_rows(table)) for table in root.iter("table")}


def _rows(table: Element) -> Iterator[list[Any]]:
    assert all(head.get("scope") for head in table.iter("th"))
    for body in table.iter("tbody"):
        group: list[Any] = []
        for row in body.iter("tr"):
            heads = [text_of(head) for head in row.iter("th")]
            if len(heads) == 2:
                group = [heads.pop(0)]
            yield [*group, *heads, *(_number(cell) for cell in row.iter("td"))]


def _number(cell: Element) -> float | None:
    data = cell.find("data")
    return None if data is None else float(data.attrib["value"])
