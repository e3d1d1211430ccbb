"""Prices and exclusions in the words of a query: 'coffee under $10 -decaf', 'gum without sugar', 100元以下的耳机."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import rjieba

from components.shared.text.scripts import fold
from components.shared.text.units import quantities

_SIGN = r"(?:us\$|\$|€|£|¥|usd|eur|gbp|rmb|cny)"
_NAME = r"(?:dollars?|usd|bucks|euros?|eur|gbp|yuan|rmb|cny|\$|€|£|¥|元|块钱|块|美元|欧元)"
_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?(?:k(?![\w-]))?"
_TO = r"\s?(?:-|–|~|to|到|至)\s?"
_MOST = r"(?:under|below|less than|cheaper than|up to|at most|no more than|not more than|not over|<=?)"
_LEAST = r"(?:over|above|more than|at least|starting at|>=?)"
_OR_LESS = r"(?:(?:or|and) (?:less|under|below|cheaper)|max(?:imum)?)(?!\w)"
_OR_MORE = r"(?:(?:or|and) (?:more|over|above|up)(?!\w)|\+(?!\w))"
_ABOUT = 0.25
"""How far from a price those are that are about it."""
_CHEAP = re.compile(r"(?<!\w)(?:cheap(?:est)?|budget|inexpensive|affordable|low[- ]?priced)(?!\w)|便宜的?|平价|廉价")


@dataclass(frozen=True)
class Intents:
    """What a query says beside the words that items should have.

    Attributes:
        text: The rest of the query, folded.
        price_min, price_max: Bounds, None if not given.
        cheap: Whether low prices are preferred.
        without: Words that items should not have.
    """

    text: str
    price_min: float | None = None
    price_max: float | None = None
    cheap: bool = False
    without: tuple[str, ...] = ()

    @property
    def priced(self) -> bool:
        """Whether a price is bounded."""
        return self.price_min is not None or self.price_max is not None

    @property
    def limits(self) -> bool:
        """Whether items are left out by price or word."""
        return self.priced or bool(self.without)


@dataclass(frozen=True)
class _Price:
    pattern: re.Pattern[str]
    bounds: Callable[[re.Match[str]], tuple[float | None, float | None]]
    currency: bool = False
    """Whether it is a price only with a currency: 'iphone 15 pro max 256' is none."""


def _value(text: str) -> float:
    number = text.replace(",", "")
    return float(number.removesuffix("k")) * (1000 if number.endswith("k") else 1)


def _amount(name: str) -> str:
    return rf"(?P<sign_{name}>{_SIGN})?\s?(?P<{name}>{_NUMBER})(?!\.?\d)\s?(?P<name_{name}>{_NAME})?(?![\w%])"


def _range(match: re.Match[str]) -> tuple[float | None, float | None]:
    low, high = sorted((_value(match["low"]), _value(match["high"])))
    return low, high


def _about(match: re.Match[str]) -> tuple[float | None, float | None]:
    value = _value(match["high"])
    return value * (1 - _ABOUT), value * (1 + _ABOUT)


def _most(match: re.Match[str]) -> tuple[float | None, float | None]:
    return None, _value(match["high"])


def _least(match: re.Match[str]) -> tuple[float | None, float | None]:
    return _value(match["low"]), None


_PRICES = (
    _Price(re.compile(rf"(?<!\w)(?:between|from)\s+{_amount('low')}\s+(?:and|to)\s+{_amount('high')}"), _range),
    _Price(re.compile(rf"(?<![\w.])(?P<sign_low>{_SIGN})\s?(?P<low>{_NUMBER}){_TO}{_amount('high')}"), _range),
    _Price(re.compile(rf"(?<![\da-z.-])(?P<low>{_NUMBER})(?:\s?{_NAME})?{_TO}(?P<high>{_NUMBER})\s?(?P<name_high>{_NAME})"
                      "(?![a-z])的?"), _range),
    _Price(re.compile(rf"(?<![\da-z.-])(?P<low>\d{{3,}}){_TO}(?P<high>\d{{3,}})的"), _range),
    _Price(re.compile(rf"(?<!\w){_MOST}\s?{_amount('high')}"), _most),
    _Price(re.compile(rf"(?<![\w-])max(?:imum)?\s?{_amount('high')}"), _most, currency=True),
    _Price(re.compile(rf"(?<![\w.$-]){_amount('high')}\s?{_OR_LESS}"), _most, currency=True),
    _Price(re.compile(rf"(?<!\w){_LEAST}\s?{_amount('low')}"), _least),
    _Price(re.compile(rf"(?<![\w.$-]){_amount('low')}\s?{_OR_MORE}"), _least, currency=True),
    _Price(re.compile(rf"(?<!\w)(?:around|about|approx\.?)\s?{_amount('high')}"), _about, currency=True),
    _Price(re.compile(rf"(?<![\da-z.])(?P<high>{_NUMBER})\s?(?P<name_high>元|块钱?)(?:左右|上下)的?"), _about),
    _Price(re.compile(rf"(?:低于|不超过|少于|不到|预算|最多)\s?¥?(?P<high>{_NUMBER})\s?(?:元|块钱?)?(?:的)?"), _most),
    _Price(re.compile(rf"(?:高于|超过|多于|至少)\s?¥?(?P<low>{_NUMBER})\s?(?:元|块钱?)?(?:的)?"), _least),
    _Price(re.compile(rf"(?<![\da-z.])(?P<high>{_NUMBER})\s?(?:元|块钱?)?\s?(?:以下|以内|之内)(?:的)?"), _most),
    _Price(re.compile(rf"(?<![\da-z.])(?P<low>{_NUMBER})\s?(?:元|块钱?)?\s?以上(?:的)?"), _least),
)  # fmt: skip
_WITHOUT = re.compile(
    r"(?:(?<=\s)|^)-(?P<minus>[^\W\d_][\w-]*)"
    r"|(?<!\w)(?:without(?: any)?|excluding|except(?: for)?|but not|(?<!do )(?<!me )not)\s+(?P<word>[^\W\d_][\w-]*)"
    r"|(?:不要|不含|不带|除了)(?P<han>[\u3400-\u9fff]+)"
)


def read_intents(query: str) -> Intents:
    """Read prices and exclusions; what they say is taken out of the text.

    >>> read_intents("coffee under $10 -decaf")
    Intents(text='coffee', price_min=None, price_max=10.0, cheap=False, without=('decaf',))
    """
    text = fold(query)
    low = high = None
    for price in _PRICES:
        found = price.pattern.search(text)
        if found is None or (price.currency and not _has_currency(found)) or _is_quantity(text, found):
            continue
        low, high = price.bounds(found)
        text = f"{text[: found.start()]} {text[found.end() :]}"
        break
    without: list[str] = []
    text = _WITHOUT.sub(lambda found: _excluded(found, without), text)
    plain = _CHEAP.sub(" ", text)
    cheap = plain != text and bool(plain.strip())
    return Intents(" ".join((plain if cheap else text).split()), low, high, cheap, tuple(dict.fromkeys(without)))


def _excluded(found: re.Match[str], without: list[str]) -> str:
    """Note the excluded word; return what stays in its place."""
    if found["han"] is None:
        without.append(found["minus"] or found["word"])
        return " "
    word, *others = rjieba.cut(found["han"])
    without.append(word)
    return " " + "".join(others).removeprefix("的")


def _is_quantity(text: str, price: re.Match[str]) -> bool:
    """Whether a bound is of a size ('under 20 inch'), which a currency rules out."""
    if _has_currency(price):
        return False
    at = price.start("high" if price.groupdict().get("high") else "low")
    return any(start == at for _, start, _ in quantities(text))


def _has_currency(price: re.Match[str]) -> bool:
    return any(value and name.startswith(("sign_", "name_")) for name, value in price.groupdict().items())
