"""Numbers as people read them."""

from math import floor, log10

from tenancy.pictures import Number, Unit

NONE = "–"


def worded(number: Number, unit: Unit) -> str:
    """With its unit; a dash where there is none."""
    if number is None:
        return NONE
    match unit:
        case Unit.cases:
            return f"{number:,.0f}"
        case Unit.hours:
            return f"{number:,.1f} h"
        case Unit.share:
            return f"{number:.1%}".replace("%", "\N{NO-BREAK SPACE}%")


def ticks(highest: float, most: int = 4) -> list[float]:
    """Round numbers from zero to one that is no lower than the highest."""
    if highest <= 0:
        return [0, 1]
    rough = highest / most
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    count = 1
    while count * step < highest:
        count += 1
    return [step * place for place in range(count + 1)]
