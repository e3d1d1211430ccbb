"""Quantities in texts: numbers with a unit, in one form ('500 ml', '500ml' and '0.5 l' are '500ml')."""

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

from components.shared.text.scripts import ALONE

_SIZES: dict[str, dict[str, tuple[str, str]]] = {
    "ml": {"1": ("ml milliliter milliliters millilitre millilitres 毫升", ""), "10": ("cl", ""),
           "1000": ("liter liters litre litres ltr 公升", "l 升")},
    "floz": {"1": ("floz", ""), "128": ("gal gallon gallons ga", ""), "32": ("qt quart quarts", ""),
             "16": ("pint pints pt", "")},
    "g": {"1": ("gram grams gr 克", "g"), "0.001": ("mg milligram milligrams 毫克", ""),
          "1000": ("kg kgs kilo kilos kilogram kilograms 千克 公斤", ""), "500": ("斤", "")},
    "oz": {"1": ("oz ounce ounces 盎司", ""), "16": ("lb lbs pound pounds 磅", "")},
    "mm": {"1": ("mm millimeter millimeters millimetre 毫米", ""), "10": ("cm centimeter centimetre 厘米", ""),
           "1000": ("meter meters metre metres 米", "m")},
    "in": {"1": ("inch inches zoll 英寸 寸 吋", "in"), "12": ("ft foot feet 英尺", "")},
    "gb": {"1": ("gb gigabyte gigabytes", ""), "1000": ("tb terabyte terabytes t", ""), "0.001": ("mb megabyte", ""),
           "0.000001": ("kb", "")},
    "mhz": {"1": ("mhz", ""), "1000": ("ghz", ""), "0.001": ("khz", ""), "0.000001": ("hz", "")},
    "mbps": {"1": ("mbps", ""), "1000": ("gbps", "")},
    "w": {"1": ("watt watts 瓦", "w"), "1000": ("kw kilowatt kilowatts", "")},
    "v": {"1": ("volt volts 伏", "v")},
    "mah": {"1": ("mah 毫安时 毫安", ""), "1000": ("ah", "")},
    "mp": {"1": ("mp megapixel megapixels", "")},
    "ct": {"1": ("ct count pk pack packs pcs pc pieces pairs 片 包 件 个 支 瓶 盒 袋 罐 粒 枚 双 条 卷", ""),
           "12": ("dozen dz", "")},
    "%": {"1": ("% percent", "")},
}  # fmt: skip
"""Base unit -> multiple of it -> (names of the unit, those that need care because they are common words or letters).

Decimal multiples of memory, as shops write it: 2 TB and 2000 GB. US gallons, quarts and pints."""

_UNIT = {
    name: (base, Decimal(size)) for base, sizes in _SIZES.items() for size, names in sizes.items()
    for name in " ".join(names).split()
}  # fmt: skip
_NAMES = "|".join(sorted(_UNIT, key=len, reverse=True))
_COMMON = {
    name for sizes in _SIZES.values() for _, names in sizes.values() for name in names.split() if name.isascii()
}  # fmt: skip
_NUMBER = (
    r"(?P<number>half(?: an?)?|半|\d+(?:\.\d+)?万|\d+(?: \d/\d+|[.,]\d+(?![\d,.]*\d)|/\d+)?"
    r"|\d{1,3}(?:,\d{3})+(?:\.\d+)?)"
)
_NAMED = rf"(?P<unit>{_NAMES})(?![a-z0-9])"
_QUANTITY = re.compile(
    # A number begins after a letter of a script without spaces, and in '6x330ml'.
    rf"(?:(?<![\w.,/])|(?<=\dx)|(?<={ALONE}))(?:"
    rf"{_NUMBER}(?:\s?(?P<mark>\"|”|′′|''|’’)|[\s-]?(?:(?P<fluid>fl\.?\s?oz)(?![a-z0-9])|{_NAMED})\.?)"
    rf"|(?:pack|box|set|case|bag)s? of (?P<many>\d+)(?![\w.,]*\d)(?![\s-]?(?:{_NAMES})(?![a-z0-9])))"
)
_CONTINUED = {"个": {"月", "性"}, "升": {"级", "降"}, "克": {"拉"}, "条": {"纹"}, "包": {"邮"}, "米": {"色"}}
"""Characters that make another word of a unit: '2 升级版' has no litres."""
_HALF = ("half", "half a", "half an")
_DIGITS = 6
"""Decimals kept of a quantity, so that a third has an end."""


def quantities(folded: str) -> Iterator[tuple[str, int, int]]:
    """Find the quantities of a folded text.

    >>> list(quantities("milk 0.5 l"))
    [('500ml', 5, 10)]

    Yields:
        The quantity in its base unit, and its start and end in the text.
    """
    for found in _QUANTITY.finditer(folded):
        number = _decimal(found["many"] or found["number"])
        base, size = _unit(found)
        if number is not None and not _is_something_else(found, base):
            yield f"{plain(number * size)}{base}", found.start(), found.end()


def memory_size(quantity: str) -> str:
    """The gigabytes that a quantity in grams may be, as '128g' is written of memory; '' if it is no power of two.

    >>> memory_size("128g"), memory_size("100g")
    ('128gb', '')
    """
    number = quantity.removesuffix("g")
    is_memory = number.isdigit() and 8 <= int(number) <= 1024 and int(number).bit_count() == 1
    return f"{number}gb" if quantity.endswith("g") and is_memory else ""


def _unit(found: re.Match[str]) -> tuple[str, Decimal]:
    """Base unit and multiple of it."""
    if found["many"]:
        return "ct", Decimal(1)
    if found["mark"]:
        return "in", Decimal(1)
    return ("floz", Decimal(1)) if found["fluid"] else _UNIT[found["unit"]]


def _is_something_else(found: re.Match[str], base: str) -> bool:
    """Whether a match is no quantity: '3 in 1', '2 t-shirts', 'half in', 半包, '3 个月'."""
    after = found.string[found.end() :]
    if found["number"] in ("半", *_HALF):
        return base == "ct" or bool(found["mark"]) or found["unit"] in _COMMON
    return bool(
        (found["unit"] == "in" and re.match(r"[\s-]\d", after))
        or (found["unit"] == "t" and re.match(r"[-\s]?shirt|-", after))
        or after[:1] in _CONTINUED.get(found["unit"] or "", ())
    )


def plain(number: Decimal) -> str:
    """A number without exponent and trailing zeros.

    >>> plain(Decimal("1E+3")), plain(Decimal("15.60"))
    ('1000', '15.6')
    """
    text = f"{round(number, _DIGITS):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decimal(text: str) -> Decimal | None:
    """The value of '1.5', '1,5', '1,100', '1/2' or '1 1/2'; None if it is none of these."""
    if text in ("半", *_HALF):
        return Decimal("0.5")
    if text.endswith("万"):
        return Decimal(text[:-1]) * 10_000
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", text):
        return Decimal(text.replace(",", ""))
    if "/" in text:
        whole, _, part = text.rpartition(" ")
        if part.endswith("/0") or set(part.partition("/")[2]) == {"0"}:
            return None
        value = Fraction(part) + (int(whole) if whole else 0)
        return Decimal(value.numerator) / Decimal(value.denominator)
    return Decimal(text.replace(",", "."))
