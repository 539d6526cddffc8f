"""Random questions about the seeded rows, for Hypothesis."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from hypothesis import strategies as st

from tests.api.evaluation import COMPARISONS, MATCHES, Filter, Group, Item, Kind, Row, Term
from tests.api.seeded_rows import CHOICES, CODES, KINDS, ROWS, SCALARS, TEXTS

PATHS = [
    "source",
    "score",
    "list",
    "list.0",
    "list.-1",
    "member",
    "member.name",
    "odd__key",
    "a b",
    "missing",
    "score.x",
]
WRITTEN_SCALARS = [
    *(value for value in SCALARS if isinstance(value, str)),
    *("5", "5.0", "5e0", "0.250", "-3", "-3.5", "1e2", "9007199254740993", "false", "[]", "é1", "Infinity"),
]
UNKNOWN = "ffffffff-ffff-4fff-bfff-ffffffffffff"


# -- Filters -----------------------------------------------------------------


EQUALITIES = ("e", "ne", "in", "not_in", "exact")
_PIECES = sorted({text[start:end] for text in TEXTS for start in (0, 1, 2) for end in (2, 3, 4, 99)})
_NULLS = {(): ("",), ("true",): ("t",), ("false",): ("False",)}


def _swap_ascii(text: str) -> str:
    return "".join(letter.swapcase() if letter.isascii() else letter for letter in text)


def _csv(values: Sequence[str]) -> str:
    quoted = (
        '"' + value.replace('"', '""') + '"' if not value or set(value) & set(',"\n') else value for value in values
    )
    return ",".join(quoted)


def _meant(table: str, column: str, kind: Kind, operator: str | None) -> st.SearchStrategy[str]:
    """Values that are often in a row."""
    match kind:
        case Kind.document:
            return st.sampled_from(WRITTEN_SCALARS)
        case Kind.array:
            return st.sampled_from([*CODES, "nothing"])
        case Kind.choice:
            return st.sampled_from([choice.value for choice in CHOICES[table][column]])
        case Kind.flag:
            return st.sampled_from(["true", "false"])
        case Kind.text if operator is None or operator in MATCHES:
            return st.sampled_from(_PIECES).flatmap(lambda piece: st.sampled_from([piece, _swap_ascii(piece)]))
        case Kind.text:
            return st.sampled_from(TEXTS)
    known = sorted({str(row[column]) for row in ROWS[table] if row.get(column) is not None})
    others = {Kind.key: UNKNOWN, Kind.number: "0.3", Kind.time: "2026-01-03T12:00:00+00:00"}
    return st.sampled_from([*known, others[kind]])


def _spelled(draw: st.DrawFn, kind: Kind, value: str) -> str:
    """The same value in another spelling that the column accepts."""
    match kind:
        case Kind.key:
            return draw(st.sampled_from([value, value.upper(), value.replace("-", "")]))
        case Kind.flag:
            return draw(st.sampled_from([value, value.upper(), value[0], {"true": "1", "false": "0"}[value]]))
        case Kind.number:
            return draw(st.sampled_from([value, f"{float(value):e}"]))
        case Kind.time:
            moment = datetime.fromisoformat(value)
            east = moment.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()
            zulu = moment.replace(tzinfo=None).isoformat()
            # A plus that nobody encoded arrives as a blank.
            return draw(st.sampled_from([value, f"{zulu}Z", zulu, east, east.replace("+", " ")]))
    return value


def _operators(kind: Kind, is_inside: bool) -> list[str | None]:
    if is_inside or kind is Kind.text:
        return [None, *EQUALITIES, *COMPARISONS, *MATCHES, "is_null", "not_null"]
    if kind is Kind.document:
        return ["is_null", "not_null"]
    if kind is Kind.array:
        return [None, "e", "any", "contains", "overlaps", "is_null", "not_null"]
    return [None, *EQUALITIES, *COMPARISONS, "is_null", "not_null"]


def _forms(table: str) -> list[tuple[Kind, bool, str | None]]:
    """Every operator of every kind of column once, so that none is rare."""
    kinds = [(kind, False) for kind in sorted(set(KINDS[table].values()))]
    kinds += [(kind, True) for kind, _ in kinds if kind is Kind.document]
    return [(kind, is_inside, operator) for kind, is_inside in kinds for operator in _operators(kind, is_inside)]


@st.composite
def filters(draw: st.DrawFn, table: str, *, is_single: bool = False) -> Filter:
    """A filter on any column, with any of its operators; `is_single`: with one written value."""
    kind, is_inside, operator = draw(st.sampled_from(_forms(table)))
    column = draw(st.sampled_from(sorted(name for name, its_kind in KINDS[table].items() if its_kind is kind)))
    target = f"{column}.{draw(st.sampled_from(PATHS))}" if is_inside else column
    if operator in ("is_null", "not_null"):
        meant = draw(st.sampled_from([("true",), ("false",)] if is_single else list(_NULLS)))
        return Filter(target, operator, meant, _NULLS[meant])
    is_set = operator in ("in", "not_in", "contains", "overlaps") and (kind is Kind.array or operator not in MATCHES)
    most = 1 if operator in COMPARISONS or (is_single and not is_set) else 4
    meant = tuple(draw(st.lists(_meant(table, column, kind, operator), min_size=1, max_size=most)))
    written = tuple(_spelled(draw, kind, value) for value in meant)
    if is_set:
        cut = 0 if is_single else draw(st.integers(0, len(written) - 1))
        written = tuple(_csv(part) for part in (written[:cut], written[cut:]) if part)
    return Filter(target, operator, meant, written)


def groups(table: str, depth: int = 3) -> st.SearchStrategy[Group]:
    """Groups in groups."""
    item: st.SearchStrategy[Item] = filters(table, is_single=True)
    if depth > 1:
        item = st.one_of(item, item, groups(table, depth - 1))
    items = st.lists(item, min_size=1, max_size=3).map(tuple)
    return st.builds(Group, st.sampled_from(["or", "and", "not"]), items)


# -- Questions ---------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """`page` is None for a walk along cursors."""

    table: str
    items: tuple[Item, ...]
    terms: tuple[Term, ...]
    page: int | None
    page_size: int
    pairs: tuple[tuple[str, str], ...]

    def expected(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The part of the rows, all that were found, that it asks for."""
        return rows if self.page is None else rows[(self.page - 1) * self.page_size : self.page * self.page_size]


def _condition(item: Item) -> str:
    if isinstance(item, Group):
        return f"{item.kind}({','.join(map(_condition, item.items))})"
    name = item.target + (f"__{item.operator}" if item.operator else "")
    value = item.written[0]
    if set(value) & set(',)"'):
        value = '"' + value.replace('"', '""') + '"'
    return f"{name}={value}"


def _pairs(item: Item, style: int) -> list[tuple[str, str]]:
    """The item as parameters, in one of the styles that there are."""
    if isinstance(item, Group):
        inner = ",".join(map(_condition, item.items))
        return [(f"__{item.kind}", f"({inner})" if style % 2 else inner)]
    is_null = item.operator in ("is_null", "not_null")
    # The stock form of a question for null says it without a value.
    is_stock = not item.values if is_null else item.operator is None or style % 2 == 1
    name = item.target if is_stock else f"{item.target}__{item.operator}"
    brackets = "[]" if style > 1 else ""
    pairs = [(name + brackets, value) for value in item.written if value or not is_null or style > 1]
    if is_stock and item.operator is not None:
        pairs.append(
            (f"{item.target}__{'match' if item.operator in (*MATCHES, 'exact') else 'operator'}", item.operator)
        )
    return pairs


@st.composite
def questions(draw: st.DrawFn, table: str, *, most_filters: int, most_terms: int, is_paged: bool) -> Question:
    """Filters and groups together, an order and a page of what they leave."""
    asked = draw(st.lists(st.one_of(filters(table), filters(table), groups(table)), max_size=most_filters))
    items: list[Item] = []
    pairs: list[tuple[str, str]] = []
    taken: set[str] = set()
    for item in asked:
        written = _pairs(item, draw(st.integers(0, 3)))
        # The same parameter twice would be one filter with more values.
        names = {name.removesuffix("[]").removesuffix("__operator").removesuffix("__match") for name, _ in written}
        if isinstance(item, Group) or taken.isdisjoint(names):
            taken |= names
            items.append(item)
            pairs += written
    columns = sorted(column for column, kind in KINDS[table].items() if kind is not Kind.document)
    term = st.builds(Term, st.sampled_from(columns), st.booleans(), st.sampled_from(["", ".nullsfirst", ".nullslast"]))
    terms = tuple(draw(st.lists(term, max_size=most_terms, unique_by=lambda term: term.column)))
    if terms:
        pairs.append(("__order", ",".join(map(str, terms))))
    page, page_size = draw(st.sampled_from([1, 2, 3, None])) if is_paged else 1, 1000
    if is_paged:
        page_size = draw(st.integers(12, 40) if page is None else st.integers(1, 30))
        pairs.append(("__cursor", "") if page is None else ("__page", str(page)))
    pairs.append(("__page_size", str(page_size)))
    return Question(table, tuple(items), terms, page, page_size, tuple(pairs))
