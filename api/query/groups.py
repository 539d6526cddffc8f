"""The grammar of `__or`, `__and` and `__not`: conditions in parentheses, nested.

    group     = "(" items ")" | items
    items     = item *( "," item )
    item      = ( "or" | "and" | "not" ) "(" items ")" | condition
    condition = name "=" value
    value     = '"' text, its quotes doubled '"' | text without "," and ")"

`__or=(status=denied,and(priority__in="high,urgent",payer=Aetna))`
"""

import re
from dataclasses import dataclass, field
from typing import NoReturn

from api.query.values import refuse

MAX_DEPTH = 5
_BLANKS = re.compile(r" *")
_NESTED = re.compile(r"(or|and|not)\(")
_NAME = re.compile(r"[^=,()\"]+(?==)")
_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"(?=[,)]|\Z)')
_BARE = re.compile(r'(?!")[^,)]*')


@dataclass(frozen=True, slots=True)
class Condition:
    """`name` is a parameter's, operator and all."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Group:
    """`kind` is `or`, `and` or `not`; the last negates what all its items say together."""

    kind: str
    items: "list[Group | Condition]" = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many conditions it holds, at any depth."""
        return sum(item.size if isinstance(item, Group) else 1 for item in self.items)


def parse_group(kind: str, text: str) -> Group:
    """Raises `Problem` 400 that says where the text stops making sense."""
    reader = _Reader(f"__{kind}", text)
    has_parentheses = reader.skip("(")
    group = Group(kind, reader.items(1))
    if has_parentheses:
        reader.expect(")")
    reader.expect_end()
    return group


class _Reader:
    def __init__(self, parameter: str, text: str) -> None:
        self._parameter = parameter
        self._text = text
        self._at = 0

    def items(self, depth: int) -> list[Group | Condition]:
        if depth > MAX_DEPTH:
            refuse(self._parameter, f"nests groups more than {MAX_DEPTH} deep")
        found = [self._item(depth)]
        while self.skip(","):
            found.append(self._item(depth))
        return found

    def _item(self, depth: int) -> Group | Condition:
        self._take(_BLANKS)
        if nested := self._take(_NESTED):
            group = Group(nested[1], self.items(depth + 1))
            self.expect(")")
            return group
        name = self._take(_NAME)
        if name is None:
            self._fail("a condition such as status=denied, or a group such as or(…)")
        self.expect("=")
        if quoted := self._take(_QUOTED):
            return Condition(name[0], quoted[1].replace('""', '"'))
        bare = self._take(_BARE)
        if bare is None:
            self._fail("a closing quote")
        return Condition(name[0], bare[0])

    def skip(self, character: str) -> bool:
        if self._text.startswith(character, self._at):
            self._at += 1
            return True
        return False

    def expect(self, character: str) -> None:
        if not self.skip(character):
            self._fail(f'"{character}"')

    def expect_end(self) -> None:
        if self._at < len(self._text):
            self._fail("the end")

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._at)
        if match:
            self._at = match.end()
        return match

    def _fail(self, expected: str) -> NoReturn:
        refuse(self._parameter, f"has at character {self._at + 1} something other than {expected}")
