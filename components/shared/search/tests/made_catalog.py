"""Made catalog of 2,000 items in English, Chinese and both; what is true of each item is known as it is made.

The same on every machine: the only randomness is that of a generator with a fixed seed.
"""

from dataclasses import dataclass
from functools import cache
from random import Random
from string import capwords

from components.shared.search.documents import Document
from components.shared.search.tests.made_products import COLOURS, INGREDIENTS, OTHERS, PRODUCTS, Product

ITEMS = 2_000
_SEED = 23
_LANGUAGES = ("en", "zh", "mixed")
_OF_MIXED = ("en", "zh")
_WRITTEN = {
    "en": {
        "ml": ("{n:g} ml", "{n:g}ml", "{k:g} L", "{k:g}L"), "g": ("{n:g} g", "{n:g}g", "{k:g} kg", "{k:g}kg"),
        "in": ("{n:g} inch", "{n:g}-inch", '{n:g}"', "{n:g} in"), "mm": ("{c:g} cm", "{c:g}cm", "{k:g} m", "{k:g}m"),
        "gb": ("{n:g} GB", "{n:g}GB", "{k:g} TB", "{k:g}TB"),
        "ct": ("{n:g}-pack", "{n:g} ct", "Pack of {n:g}", "{n:g} count"),
        "oz": ("{n:g} oz", "{n:g}oz", "{p:g} lb"),
        "mah": ("{n:g}mAh", "{n:g} mAh", "{n:,g} mAh"), "w": ("{n:g}W", "{n:g} watt"),
    },
    "zh": {
        "ml": ("{n:g}毫升", "{n:g}ml", "{k:g}升", "{k:g}L"), "g": ("{n:g}克", "{n:g}g", "{k:g}公斤", "{k:g}kg"),
        "in": ("{n:g}英寸", "{n:g}寸"), "mm": ("{c:g}厘米", "{c:g}cm", "{k:g}米", "{k:g}m"),
        "gb": ("{n:g}GB", "{n:g} GB", "{k:g}TB", "{k:g}TB"), "ct": ("{n:g}片装", "{n:g}包", "{n:g}件装", "{n:g}个"),
        "oz": ("{n:g}盎司", "{n:g}oz"), "mah": ("{n:g}mAh", "{n:g}毫安"), "w": ("{n:g}W", "{n:g}瓦"),
    },
}  # fmt: skip
"""How sizes are written: in their base unit, in a thousand (k), ten (c) and sixteen (p) of it."""
_FREE = {"en": ("{}-free", "no {}", "{} free", "without {}"), "zh": ("无{}", "不含{}", "零{}")}
_HAS = {"en": ("Ingredients", "{}, water, flavour"), "zh": ("配料", "水、{}、香料")}


@dataclass(frozen=True)
class MadeItem:
    """An item.

    Attributes:
        document: Its texts.
        price: Its price.
        language: In which most of its texts are: 'en' or 'zh'.
        facts: What is true of it: product, brand, variant, colour, size ('500ml'), '+sugar' or '-sugar', its codes.
    """

    document: Document
    price: float
    language: str
    facts: frozenset[str]


@cache
def made_catalog() -> tuple[MadeItem, ...]:
    """The items."""
    random, made = Random(_SEED), []
    for row in range(ITEMS - len(OTHERS)):
        made.append(_item(row, PRODUCTS[row % len(PRODUCTS)], random))
    for row, (language, name, title) in enumerate(OTHERS, len(made)):
        made.append(MadeItem(Document(f"p{row:05d}", title), 10.0, language, frozenset([name])))
    return tuple(made)


def size_in(size: str, language: str, way: int) -> str:
    """A size as it is written in a language: '500ml' as '0.5 L'."""
    number = float(size.rstrip("abcdefghijklmnopqrstuvwxyz"))
    unit = size.lstrip("0123456789.")
    # Nobody writes 0.075 L or 0.5 TB.
    forms = [form for form in _WRITTEN[language][unit] if "{k" not in form or number >= (250 if unit == "ml" else 1000)]
    if unit == "mm" and number >= 1000:
        forms = [form for form in forms if "{k" in form]
    return forms[way % len(forms)].format(n=number, k=number / 1000, c=number / 10, p=number / 16)


def ean(row: int) -> str:
    """An EAN-13 with its check digit."""
    digits = f"40063{row * 7919 % 10_000_000:07d}"
    total = sum(int(digit) * (3 if at % 2 else 1) for at, digit in enumerate(digits))
    return f"{digits}{-total % 10}"


def model(row: int) -> str:
    """Model number of a device: 'KX-142B'."""
    return f"{'KVTZ'[row % 4]}X-{100 + row * 37 % 900}{'ABC'[row % 3]}"


def _item(row: int, product: Product, random: Random) -> MadeItem:
    language = _LANGUAGES[row // len(PRODUCTS) % len(_LANGUAGES)]
    brand, variant = random.choice(product.brands), random.choice(product.variants)
    size, colour = random.choice(product.sizes), random.choice(list(COLOURS)) if product.coloured else ""
    free = random.choice("+-") if product.free_of else ""
    price = round(random.uniform(*product.price), 2)
    sku = f"{product.en[:3].upper().strip()}-{1000 + row}"
    facts = {product.en, variant[0], colour, size, free + product.free_of, ean(row), sku, *brand.split(" ")[-1:], brand}
    words = random.choice(_OF_MIXED) if language == "mixed" else language
    title = _title(product, language, words, brand, variant)
    attributes = [("EAN", ean(row)), ("SKU", sku)]
    if size:
        title += f" {size_in(size, words, random.randrange(4))}"
    if product.brands[0] == "Sony":
        title, facts = f"{title} {model(row)}", facts | {model(row)}
    if colour:
        attributes.append(("colour", colour) if words == "en" else ("颜色", COLOURS[colour]))
        title += f" {attributes[-1][1]}" if random.random() < 0.6 else ""
    if free:
        ingredient = product.free_of if words == "en" else INGREDIENTS[product.free_of]
        if free == "-":
            title += f" {random.choice(_FREE[words]).format(ingredient)}"
        else:
            attributes.append((_HAS[words][0], _HAS[words][1].format(ingredient)))
    path = product.path if words == "en" else product.path_zh
    document = Document(f"p{row:05d}", title, brand, path, tuple(attributes), _description(words, product, random))
    return MadeItem(document, price, words, frozenset(filter(None, facts)))


def _title(product: Product, language: str, words: str, brand: str, variant: tuple[str, str]) -> str:
    phone = product.path[1] == "Phone Accessories" and len(product.variants) == 4
    if language == "en":
        name = product.en if product.en[:1].isupper() else capwords(product.en)
        return f"{brand} {name} for {variant[0]}" if phone else f"{brand} {capwords(variant[0])} {name}"
    if language == "zh":
        return f"{brand} 适用{variant[1]}{product.zh}" if phone else f"{brand} {variant[1]}{product.zh}"
    both = f"{product.en} {product.zh}" if words == "en" else f"{product.zh} {product.en}"
    return f"{brand} {variant[0]} {both} {variant[1]}" if words == "en" else f"{brand} {variant[1]}{both}"


def _description(words: str, product: Product, random: Random) -> str:
    """A text that also speaks of another product, as texts of shops do."""
    other = random.choice(PRODUCTS)
    if words == "en":
        return f"Quality {product.path[1].lower()} for every day. Customers also bought our {other.en}."
    return f"日常优选。顾客还购买了{other.zh}。"
