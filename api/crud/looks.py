"""Which looks a row leaves that was read, and those that came along with it."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from piccolo.table import Table

from api.encoding import load_stored
from api.looks import Listing, Look, View
from api.query.shape import Shape

Viewed = Mapping[type[Table], str]


def looks_at_row(viewed: Viewed, shape: Shape, row_id: UUID, body: bytes, stored: bytes | None) -> list[Look]:
    """A view of the row and of each single one in it; one listing for those of which there are many, or no id is told.

    `body` is the row in the shape, `stored` the row as it is, where that is not the body itself.
    """
    looks: list[Look] = [View(viewed[shape.table], row_id)] if shape.table in viewed else []
    if "trail" in shape.table._meta.tags:  # An entry may hold a whole case.
        looks.append(Listing("list", 1))
    if not shape.related or viewed.keys().isdisjoint(shape.tables()):
        return looks
    found = list(_related(viewed, shape, load_stored(body), load_stored(stored or body), of_many=False))
    looks += [View(entity, UUID(told)) for entity, told in found if told is not None]
    unnamed = sum(told is None for _, told in found)
    return [*looks, Listing("list", unnamed)] if unnamed else looks


def _related(
    viewed: Viewed, shape: Shape, row: Mapping[str, Any], stored: Mapping[str, Any], *, of_many: bool
) -> Iterator[tuple[str, str | None]]:
    """For each row that came along: what it is, and its id."""
    for key, (relation, nested) in shape.related.items():
        many = of_many or relation.is_many
        for found in row[key] if relation.is_many else [row[key]] if row[key] else []:
            if nested.table in viewed:
                told = None if many else found.get("id") or stored.get(relation.column_name)
                yield viewed[nested.table], told if isinstance(told, str) else None
            yield from _related(viewed, nested, found, found, of_many=many)
