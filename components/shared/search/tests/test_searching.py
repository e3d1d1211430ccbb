"""Search of a small catalog in English and Chinese, written and opened as in a bundle."""

import stat

import numpy as np
import pytest

from components.shared.errors import BundleError, InputError
from components.shared.search.candidates import ItemFacts
from components.shared.search.config import SearchOptions, parse_synonyms
from components.shared.search.documents import Document, Field
from components.shared.search.relevance import FEATURES, RelevanceModel
from components.shared.search.searching import CatalogSearch
from components.shared.storage import read_json, write_json

ITEMS = [
    Document(""),
    Document("whole", "Whole Milk 1L", "Farm", ("Dairy", "Milk")),
    Document("oat", "Oat Milk", "Oatly", ("Dairy", "Milk")),
    Document("niunai", "全脂牛奶 250ml", "蒙牛", ("乳品", "牛奶")),
    Document("yanmai", "燕麦奶 Oat drink", "Oatly", ("乳品",)),
    Document("bread", "Bread", "Mill", ("Bakery",), (("organic", "Y"), ("colour", "brown"))),
    Document("emoji", "🥛🥛"),
    Document("choc", "MILK choc milk", "Farm", ("Dairy",)),
    Document("ice", "Ice Cream vanilla 500 ml", "Farm", ("Frozen",), (("EAN", "4006381333931"),)),
    Document("cable", "USB-C cable 2m black", "Anker", ("Electronics", "Cables"), (("colour", "black"),)),
    Document("cable2", "USB C charger white", "Anker", ("Electronics", "Chargers"), (("colour", "white"),)),
    Document("gum", "Chewing gum sugar-free", "Orbit", ("Candy",)),
    Document("candy", "Candy with sugar", "Sweet", ("Candy",), (), "Hard candy, made of cane sugar."),
    Document("phone", "iPhone 15 case", "Spigen", ("Electronics", "Phone cases")),
    Document("headphones", "Wireless headphones", "Sony", ("Electronics", "Audio"), (), "Bluetooth headset"),
    Document("headphones2", "Studio headphones", "Sony", ("Electronics", "Audio")),
]
ROW = {item.item_id: row for row, item in enumerate(ITEMS)}
PRICE = np.array([np.nan, 1, 2, 3, 4, 2.5, np.nan, 3, 5, 12, 19, 1, 1.5, 25, 80, 200], np.float32)


@pytest.fixture(scope="module")
def search(tmp_path_factory) -> CatalogSearch:
    folder = tmp_path_factory.mktemp("search")
    CatalogSearch.build(lambda: iter(ITEMS), folder)
    assert not [file for file in folder.rglob("*") if file.suffix in (".pkl", ".pickle", ".lock")]
    return CatalogSearch.load(folder, ItemFacts(PRICE))


def ids(search: CatalogSearch, query: str, count: int = 10, allowed=None, verbatim: bool = False) -> list[str]:
    found = search.find(search.understand(query, verbatim), count, allowed)
    assert (np.diff(found.rank_class) <= 0).all()
    return [ITEMS[row].item_id for row in found.item]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("oat milk", {"oat"}), ("牛奶", {"niunai"}), ("蒙牛牛奶", {"niunai"}),
        ("ＭＩＬＫ　whole", {"whole"}), ("icecream", {"ice"}), ("ice-cream", {"ice"}), ("ice cream 0.5 l", {"ice"}),
        ("usbc cable", {"cable"}), ("usb c cable", {"cable"}), ("usb-c cable 200 cm", {"cable"}),
        ("iphone15 case", {"phone"}), ("wireles headphnes", {"headphones"}), ("bananna", set()),
        ("4006381333931", {"ice"}), ("cable2", {"cable2"}), ("Oat Milk", {"oat"}), ("organic", {"bread"}),
        ("headphones sony bluetooth", {"headphones"}), ("chargers", {"cable2"}),
    ],
)  # fmt: skip
def test_query_finds_first_what_it_asks_for(search, query, first):
    assert set(ids(search, query)[:1]) == first


@pytest.mark.parametrize(
    "query", ["", "   ", "🥛", "😀🚚", "zzz", "的", "\0", "-", "under", "'", "\\", '"AND OR NOT"', "*"]
)
def test_query_without_matching_words_finds_nothing(search, query):
    assert ids(search, query) == []


def test_plural_finds_the_singular(search):
    assert set(ids(search, "milks")) == {"oat", "whole", "choc"}


def test_limit_and_mask(search):
    allowed = np.ones(len(ITEMS), bool)
    allowed[ROW["choc"]] = False
    assert set(ids(search, "milk", allowed=allowed)) == {"whole", "oat"}
    assert len(ids(search, "milk", 1)) == 1
    assert ids(search, "milk", allowed=np.zeros(len(ITEMS), bool)) == []


def test_correction_is_told_and_verbatim_does_without(search):
    read = search.understand("headphnes")
    assert read.told() == {"text": "headphones", "corrected": {"headphnes": "headphones"}}
    assert search.understand("headphnes", verbatim=True).told() == {"unknown": ["headphnes"]}
    assert ids(search, "headphnes", verbatim=True) == []


@pytest.mark.parametrize("word", ["gum", "1251", "usb3", "zzzzzzzzzz", "牛奶牛"])
def test_known_short_and_coded_words_are_not_corrected(search, word):
    assert not search.understand(word).corrections


def test_a_query_that_is_taken_as_it_is_written_tells_nothing(search):
    assert "text" not in search.understand("  Oat   MILK ").told()
    assert search.understand("Headphnes", verbatim=True).told() == {"unknown": ["headphnes"]}


def test_only_the_first_words_of_a_long_text_are_searched(search):
    read = search.understand("milk " + "sony " * 300)
    assert len(read.words) == 32 and len(read.labels) == len(search.understand("milk sony").labels)


def test_price_bounds_items_and_is_relaxed_when_none_fits(search):
    assert ids(search, "headphones under $100") == ["headphones"]
    assert search.understand("headphones under $100").told()["price_max"] == 100
    found = search.find(search.understand("headphones under $10"), 10)
    assert len(found.item) == 2 and found.relaxed == ("price",)
    assert ids(search, "耳机 headphones 100元以上") == ["headphones2"]


def test_excluded_words(search):
    assert ids(search, "candy -sugar") == ["gum"], "free of it"
    assert ids(search, "candy without sugar") == ["gum"]
    assert set(ids(search, "candy")) == {"gum", "candy"}


def test_brand_is_named_and_preferred(search):
    named = search.understand("sony headphones").told()["names"]
    assert {"kind": "brand", "name": "Sony"} in named


def test_words_that_no_item_has_together_are_told(search):
    found = search.find(search.understand("oat bread"), 10)
    assert found.relaxed and len(found.item)
    assert search.find(search.understand("oat milk"), 10).relaxed == ()
    assert search.understand("oat xyzzy").unknown == ("xyzzy",)


def test_nothing_is_told_as_left_out_that_the_first_item_has(tmp_path):
    others = [Document(f"other{n}", "Wool trousers") for n in range(9)]
    text = "a long text in which blue and cotton and a shirt are " * 3
    items = [Document(""), Document("loud", "Blue cotton"), *others, Document("whole", "Garment", description=text)]
    CatalogSearch.build(lambda: iter(items), tmp_path)
    search = CatalogSearch.load(tmp_path, ItemFacts(np.full(len(items), np.nan, np.float32)))
    matches = search.index.search("", search.understand("blue cotton shirt").words, 9)
    assert items[matches.item[0]].item_id == "loud", "it has the higher score, but not all words"
    found = search.find(search.understand("blue cotton shirt"), 9)
    assert items[found.item[0]].item_id == "whole" and found.relaxed == ()


def test_item_that_covers_less_comes_after_all_that_cover_the_query(search):
    found = ids(search, "white usb c charger")
    assert found[0] == "cable2"


def test_fields_are_known_by_term(search):
    rows = np.array([ROW["headphones"], ROW["bread"]])
    fields = search.index.postings.fields_of("headset", rows)
    assert fields.tolist() == [Field.DESCRIPTION, 0]


def test_index_of_another_analyzer_is_refused_and_a_read_only_one_is_read(tmp_path):
    CatalogSearch.build(lambda: iter(ITEMS), tmp_path)
    files = [tmp_path, *tmp_path.rglob("*")]
    for file in files:
        file.chmod(file.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    before = {file: file.stat().st_mtime_ns for file in files}
    assert ids(CatalogSearch.load(tmp_path, ItemFacts(PRICE)), "oat milk")[0] == "oat"
    assert {file: file.stat().st_mtime_ns for file in [tmp_path, *tmp_path.rglob("*")]} == before
    for file in files:
        file.chmod(0o755)
    write_json(tmp_path / "analyzer.json", read_json(tmp_path / "analyzer.json") | {"version": 0})
    with pytest.raises(BundleError, match="analyzer version 0"):
        CatalogSearch.load(tmp_path, ItemFacts(PRICE))


@pytest.mark.parametrize("items", [[Document("")], [Document(""), Document("a", "🥛")], [Document("a")]])
def test_catalog_without_words_finds_nothing(items, tmp_path):
    CatalogSearch.build(lambda: iter(items), tmp_path)
    search = CatalogSearch.load(tmp_path, ItemFacts(np.full(len(items), np.nan, np.float32)))
    assert len(search.find(search.understand("milk"), 5).item) == 0


def test_two_builds_find_the_same_in_the_same_order(tmp_path):
    answers = []
    for name in "ab":
        (tmp_path / name).mkdir()
        CatalogSearch.build(lambda: iter(ITEMS), tmp_path / name)
        found = CatalogSearch.load(tmp_path / name, ItemFacts(PRICE))
        answers.append([ids(found, query) for query in ("milk", "candy", "sony", "usb")])
    assert answers[0] == answers[1]


def test_synonyms_find_one_way_or_both_and_are_told(tmp_path):
    CatalogSearch.build(
        lambda: iter(ITEMS), tmp_path, SearchOptions(synonyms=("headset => headphones", "gum, bubblegum"))
    )
    found = CatalogSearch.load(tmp_path, ItemFacts(PRICE))
    assert set(ids(found, "headset")) == {"headphones", "headphones2"}
    assert ids(found, "bubblegum") == ["gum"] == ids(found, "gum")
    assert found.understand("bubblegum").told() == {"synonyms": {"bubblegum": ["gum"]}}
    assert found.understand("headphones").synonyms == {} == found.understand("headset", verbatim=True).synonyms
    assert ids(found.with_synonyms(["tp toilet => ice cream"]), "tp toilet") == ["ice"]


@pytest.mark.parametrize("line", ["a =>", "=> b", "a", "a => b => c", ",", "a,"])
def test_line_that_is_no_rule_is_named(line):
    with pytest.raises(InputError, match="line 3 of the synonyms"):
        parse_synonyms(["# a comment", "a => b", line])


def test_features_of_an_item_beside_its_texts(tmp_path):
    CatalogSearch.build(lambda: iter(ITEMS), tmp_path)
    created = np.full(len(ITEMS), np.nan)
    created[[ROW["whole"], ROW["oat"], ROW["cable"]]] = [2e9, 1e9, 2e9]
    unknown = np.zeros(len(ITEMS))
    facts = ItemFacts(PRICE, asked=np.arange(len(ITEMS)), available=unknown == 0, created_at=created)
    for given, expected in ((facts, {"whole": 1 / 3, "oat": 0, "choc": 0}), (ItemFacts(PRICE), {"whole": 0, "oat": 0})):
        search = CatalogSearch.load(tmp_path, given)
        read = search.understand("milk")
        candidates = search.candidates(read, 10)
        features = dict(zip(FEATURES, search.features(read, candidates).T, strict=True))
        found = dict(zip(candidates.matches.item.tolist(), features["freshness"], strict=True))
        assert {name: found[ROW[name]] for name in expected} == pytest.approx(expected)
        assert features["available"].all() == features["popularity"].any() == (given is facts)


def test_model_of_a_version_without_a_feature_is_read(tmp_path):
    write_json(tmp_path / "relevance.json", {"weights": {"lexical": 2.0, "price": -1.0}, "about": {}})
    model = RelevanceModel.read(tmp_path / "relevance.json")
    features = np.eye(len(FEATURES))
    assert dict(zip(FEATURES, model.relevance(features), strict=True)) == dict.fromkeys(FEATURES, 0) | model.weights
