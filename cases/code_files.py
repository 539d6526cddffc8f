"""Reads a list of codes from CSV: a code and, if there is one, its description in each line; a header may come first.

Every faulty line is named by its number. What stands in it is not repeated.
"""

import csv
import io
from collections.abc import Iterator
from typing import NamedTuple

from cases.code_lists import CodeSystem
from cases.codes import BLANKS, EXPECTED, normalised

_HEADER = "code"


class FaultyFile(ValueError):
    """The file is not what it must be; `faults` has a line for each of its lines that is wrong."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Listed(NamedTuple):
    """A code as it is stored, and what it stands for."""

    code: str
    description: str | None


def read_codes(data: bytes, system: CodeSystem) -> list[Listed]:
    """The codes of a file. Raises `FaultyFile`."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise FaultyFile([f"line {number}: is not UTF-8"]) from None
    seen: dict[str, int] = {}
    found: list[Listed] = []
    faults: list[str] = []
    for number, cells in _lines(text, faults):
        listed = _listed(cells, system)
        if isinstance(listed, str):
            faults.append(f"line {number}: {listed}")
        elif listed.code in seen:
            faults.append(f"line {number}: the code stands in line {seen[listed.code]} already")
        else:
            seen[listed.code] = number
            found.append(listed)
    if faults:
        raise FaultyFile(faults)
    return found


def _lines(text: str, faults: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line, and where it begins; a description may have line ends in its quotes."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    is_first = True
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            faults.append(f"line {number}: is not CSV: a quote is out of place, or a cell is too long")
            return
        is_header = is_first and bool(cells) and cells[0].strip(BLANKS).lower() == _HEADER
        is_first = False
        if any(cells) and not is_header:
            yield number, cells


def _listed(cells: list[str], system: CodeSystem) -> Listed | str:
    """What a line lists, or what is wrong with it."""
    if len(cells) > 2:
        return "has more than a code and a description; a comma in a description needs quotes around it"
    code = normalised(cells[0], system)
    if code is None:
        return EXPECTED[system]
    description = cells[1].strip(BLANKS) if len(cells) == 2 else ""
    if "\x00" in description:
        return "holds a NUL character"
    return Listed(code, description or None)
