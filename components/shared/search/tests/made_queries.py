"""Queries of the made catalog by kind, each with what is true of its right items."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from components.shared.search.tests.made_catalog import MadeItem, made_catalog
from components.shared.search.tests.made_products import PRODUCTS
from components.shared.search.tests.made_queries_by_script import BY_SCRIPT
from components.shared.search.tests.made_queries_combined import COMBINED
from components.shared.search.tests.made_queries_in_english import IN_ENGLISH
from components.shared.text.scripts import fold

_HAN = re.compile("[\u4e00-\u9fff]")
_SEED, _TYPOS, _LETTERS = 7, 84, "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Query:
    """A query with what its right items are.

    Attributes:
        kind, text: What it is.
        has: Facts of the right items.
        lacks: Facts that no item found may have.
        low, high: Bounds of the price, which no item found may break.
    """

    kind: str
    text: str
    has: frozenset[str]
    lacks: frozenset[str] = frozenset()
    low: float = 0.0
    high: float = float("inf")

    def wrong(self, item: MadeItem) -> bool:
        """Whether an item is one that the query rules out; of what its texts say in another language, none can tell."""
        says = item.language == ("zh" if _HAN.search(self.text) else "en")
        return (says and bool(self.lacks & item.facts)) or not self.low <= item.price <= self.high

    def right(self, item: MadeItem) -> bool:
        """Whether an item is what the query asks for."""
        return self.has <= item.facts and not self.wrong(item)


def made_queries() -> list[Query]:
    """All queries, those written here and those made of the catalog."""
    written = (IN_ENGLISH | BY_SCRIPT | COMBINED).items()
    return [_read(kind, line) for kind, lines in written for line in lines.strip().splitlines()] + [
        *_codes(), *_typos(),
    ]  # fmt: skip


def _read(kind: str, line: str) -> Query:
    text, _, facts = line.strip().partition(" => ")
    given = [fact.strip() for fact in facts.split(",")]
    low = [float(fact[1:]) for fact in given if fact[0] == ">"]
    high = [float(fact[1:]) for fact in given if fact[0] == "<"]
    has = frozenset(fact for fact in given if fact[0] not in "!<>")
    lacks = frozenset(fact[1:] for fact in given if fact[0] == "!")
    return Query(kind, text, has, lacks, *(low or [0.0]), *(high or [float("inf")]))


def _codes() -> Iterator[Query]:
    """EAN, SKU and id as they are and as people type them, and model numbers beside other words."""
    devices = [item for item in made_catalog() if any(fact[1:3] == "X-" for fact in item.facts)]
    for item in Random(_SEED).sample(made_catalog()[:1900], 5):
        (_, ean), (_, sku), *_ = item.document.attributes
        typed = (ean, f"{ean[0]} {ean[1:7]} {ean[7:]}", sku, sku.lower().replace("-", ""), item.document.item_id)
        yield from (Query("codes", text, frozenset([ean])) for text in typed)
    for item in Random(_SEED).sample(devices, 4):
        model = next(fact for fact in item.facts if fact[1:3] == "X-")
        brand = item.document.brand.split()[-1]
        for text in (f"{brand} {model}", f"{brand.lower()} {model.lower().replace('-', '')}", model.replace("-", " ")):
            yield Query("codes", text, frozenset([model]))


def _typos() -> Iterator[Query]:
    """Names of products in which one word is misspelt: by one edit, from eight letters on by two."""
    random = Random(_SEED)
    known = {word for item in made_catalog() for word in fold(item.document.title).split()}
    names = [product.en.lower() for product in PRODUCTS if any(map(_may_be_misspelt, product.en.split()))]
    for at in range(_TYPOS):
        words = names[at % len(names)].split()
        place = random.choice([place for place, word in enumerate(words) if _may_be_misspelt(word)])
        word = words[place]
        while word in known or word == words[place]:
            word = words[place]
            for _ in range(1 + (len(word) >= 8)):
                word = _edited(word, random)
        text = " ".join([*words[:place], word, *words[place + 1 :]])
        yield Query("typos", text, frozenset([next(p.en for p in PRODUCTS if p.en.lower() == " ".join(words))]))


def _may_be_misspelt(word: str) -> bool:
    return len(word) > 3 and word.isascii() and word.isalpha()


def _edited(word: str, random: Random) -> str:
    at, letter = random.randrange(len(word)), random.choice(_LETTERS)
    match random.randrange(4):
        case 0:
            return word[:at] + letter + word[at:]
        case 1:
            return word[:at] + word[at + 1 :]
        case 2:
            return word[:at] + letter + word[at + 1 :]
        case _:
            return word[:at] + word[at : at + 2][::-1] + word[at + 2 :]
