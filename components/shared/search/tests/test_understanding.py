"""What is read in queries: quantities, statements of being free of something, prices, exclusions, corrections."""

import numpy as np
import pytest

from components.shared.search.candidates import ItemFacts
from components.shared.search.documents import Document
from components.shared.search.intents import read_intents
from components.shared.search.searching import CatalogSearch
from components.shared.search.vocabulary import edit_distance
from components.shared.text.analyzer import Analyzer
from components.shared.text.free_of import free_of
from components.shared.text.units import quantities

ITEMS = [
    Document("rice", "Jasmine Rice", "Farm"), Document("face", "Face cream", "Farm"),
    Document("keyboard", "Keyboard", "Sony"), Document("oil", "Olive oil"), Document("lime", "Lime water"),
    Document("gum", "Chewing gum sugar-free"),
    Document("sweet", "Chewing gum", "", (), (("ingredients", "sugar, gum"),)),
    Document("plain", "Chewing gum"), Document("shoes", "女士跑步鞋"), Document("ice", "香草冰淇淋"),
    Document("mouse", "Wireless mouse"),
    Document("wire", "Copper wire"), Document("jacket", "Jacket", "The North Face"),
    Document("phone", "Phone case iPhone 15"), Document("kvm", "15 port iphone dock"),
]  # fmt: skip


@pytest.fixture(scope="module")
def search(tmp_path_factory) -> CatalogSearch:
    folder = tmp_path_factory.mktemp("search")
    CatalogSearch.build(lambda: iter(ITEMS), folder)
    return CatalogSearch.load(folder, ItemFacts(np.full(len(ITEMS), np.nan, np.float32)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("橄榄油500毫升", ["500ml"]),
        ("27寸显示器", ["27in"]), ("充电宝2万毫安", ["20000mah"]), ("牙刷4支装", ["4ct"]),
        ("half kilo", ["500g"]), ("half a liter", ["500ml"]), ("半斤", ["250g"]), ("半包", []), ("half in", []),
        ("pack of 12", ["12ct"]), ("box of 500 ml", ["500ml"]), ("6x330ml", ["330ml"]), ("2tb", ["2000gb"]),
        ("移动硬盘 2t", ["2000gb"]), ("2 t-shirts", []),
        ("2 t shirts", []), ("3个月", []), ("手环2升级版", []), ("1克拉", []), ("3 in 1", []),
    ],
)  # fmt: skip
def test_quantities(text, found):
    assert [quantity for quantity, _, _ in quantities(text)] == found


def test_grams_that_are_a_power_of_two_may_be_memory():
    words = Analyzer().words("128g")
    assert {"128g", "128gb"} <= {term for one in words[0].alternatives for term in one.terms}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sugar-free", ["sugar"]), ("no sugar", ["sugar"]), ("sugarless", ["sugar"]), ("无糖口香糖", ["糖"]),
        ("无麸质饼干", ["麸质"]),
        ("不含香精的洗手液", ["香精"]),
        ("0糖可乐", ["糖"]), ("无线键盘", []), ("零食", []), ("无人机", []), ("100糖", []),
        ("usb 3.0 cable", []), ("size 0 diapers", []),
        ("no man's sky", []), ("0号电池", []),
    ],
)  # fmt: skip
def test_statements_of_being_free_of_something(text, words):
    assert [stated.word for stated in free_of(text)] == words


@pytest.mark.parametrize(
    ("query", "low", "high"),
    [
        ("socks 10-20 dollars", 10, 20), ("shoes max $50", None, 50), ("shirt $50 or less", None, 50),
        ("laptop under 1k", None, 1000),
        ("laptop $100+", 100, None), ("100-200的键盘", 100, 200), ("键盘 预算100元", None, 100),
        ("键盘100元左右", 75, 125), ("38-40的鞋", None, None),
        ("around $100", 75, 125), ("iphone 15 pro max 256", None, None), ("galaxy 10-20", None, None),
        ("monitor under 27 inch", None, None),
    ],
)  # fmt: skip
def test_prices(query, low, high):
    read = read_intents(query)
    assert (read.price_min, read.price_max) == (low, high)


def test_not_excludes_but_not_everywhere():
    assert read_intents("phone case not red").without == ("red",)
    assert read_intents("do not disturb sign").without == read_intents("forget me not seeds").without == ()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        # Of two words that are one edit away, the one that stands beside the others in items.
        ("jasmine fice", ["rice"]), ("live oil", ["oil"]),
        # Two edits of a word of eight letters, one of them a deletion.
        ("keyoard", ["keyboard"]), ("keyoaru", ["keyboard"]),
        # 跑 and 鞋 are in two parts of one field.
        ("跑鞋", ["shoes"]), ("冰淇凌", ["ice"]), ("thenorthface", ["jacket"]), ("wireless", ["mouse"]),
        # A name with its number is found before both apart.
        ("iphone15", ["phone", "kvm"]),
        ("gum without sugar", ["gum", "plain"]), ("sugar free gum", ["gum"]), ("sugarless gum", ["gum"]),
    ],
)  # fmt: skip
def test_finds_first(search, query, found):
    rows = search.find(search.understand(query), 10).item
    assert [ITEMS[row].item_id for row in rows][: len(found)] == found
    assert "sweet" not in [ITEMS[row].item_id for row in rows] or "sugar" not in query


def test_statement_that_no_item_makes_is_words(search):
    assert search.understand("gluten free rice").intents.without == ()


def test_words_of_stems_that_are_near_may_be_far_from_each_other(search):
    assert search.understand("hiring").corrections == (), "the stems hire and wire are one edit apart"
    assert search.understand("keybords").corrections == (("keybords", "keyboard"),)


@pytest.mark.parametrize("texts", [("mens", "men's"), ("womens", "women"), ("childrens", "child")])
def test_possessive_without_apostrophe(texts):
    one, other = map(Analyzer().key, texts)
    assert one == other


def test_edit_distance():
    pairs = [("", "ab"), ("ab", "ba"), ("abc", "ac"), ("ab", "ab"), ("abcd", "badc")]
    assert [edit_distance(*pair) for pair in pairs] == [2, 1, 1, 0, 2]
