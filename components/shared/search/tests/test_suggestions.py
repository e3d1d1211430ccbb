"""Suggestions while typing, in English and Chinese: prefixes, edits, sources, and the shopper's own."""

import pytest

from components.shared.search.candidates import ItemFacts
from components.shared.search.documents import Document
from components.shared.search.searching import CatalogSearch
from components.shared.search.suggestions import Suggestions

ITEMS = [
    Document("", ""),
    *(Document(f"y{n}", f"Greek yogurt {flavour} 500 g", "Chobani", ("DAIRY", "Yogurt"))
      for n, flavour in enumerate(["plain", "honey", "blueberry", "strawberry"])),
    *(Document(f"c{kind}", f"Sour cream {kind}", "Daisy", ("DAIRY", "Cream")) for kind in ("light", "thick")),
    Document("p1", "iPhone 15 Pro", "Apple", ("Phones",)), Document("p2", "iPhone 15", "Apple", ("Phones",)),
    Document("z1", "燕麦奶 1L", "燕麦工坊", ("饮料",)), Document("z2", "燕麦奶 无糖 巧克力味", "燕麦工坊", ("饮料",)),
    Document("o", "One of a kind lamp", "Maker", ("Lamps",)),
]  # fmt: skip
QUERIES = {"greek yogurt low sugar": 40.0, "yogurt": 90.0, "sour cream": 12.0, "zzzz": 70.0, "燕麦奶 无糖": 9.0}


@pytest.fixture(scope="module")
def suggestions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    CatalogSearch.build(lambda: iter(ITEMS), folder, weights=[1.0] * len(ITEMS), queries=QUERIES)
    found = CatalogSearch.load(folder, ItemFacts(_prices())).suggestions
    assert found is not None
    return found


def _prices():
    import numpy as np

    return np.ones(len(ITEMS), np.float32)


def _texts(suggestions, prefix, count=10, own=None):
    return [one.text for one in suggestions.suggest(prefix, count, own)]


def test_a_prefix_finds_queries_brands_categories_phrases_and_titles(suggestions):
    kinds = {one.text: one.kind for one in suggestions.suggest("", 100)}
    assert kinds["yogurt"] == "query" and kinds["Apple"] == "brand" and kinds["Lamps"] == "category"
    assert kinds["greek yogurt"] == "phrase" and kinds["One of a kind lamp"] == "title"
    assert "zzzz" not in kinds, "no item has this word"
    assert _texts(suggestions, "GREEK Y")[:1] == ["greek yogurt"]
    assert _texts(suggestions, "ch") == ["Chobani"]
    assert _texts(suggestions, "one of") == ["One of a kind lamp"]


def test_a_later_word_matches_after_those_that_begin_with_it(suggestions):
    found = _texts(suggestions, "yog")
    assert found[0] == "yogurt" and "greek yogurt" in found
    assert _texts(suggestions, "lamp")[:2] == ["Lamps", "One of a kind lamp"]


def test_a_phrase_that_never_stands_alone_is_suggested_whole(suggestions):
    found = _texts(suggestions, "sou")
    assert "sour cream" in found and "sour" not in found
    assert "greek" not in _texts(suggestions, "gre")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("yogrt", "yogurt"), ("yoghurt", "yogurt"), ("yougr", "yogurt"), ("togurt", "yogurt"), ("chobbani", "Chobani"),
     ("greke yog", "greek yogurt"), ("greek yogutr", "greek yogurt"), ("ihpone", "iphone 15")],
)  # fmt: skip
def test_one_edit_in_a_long_word_is_corrected(suggestions, typed, meant):
    assert meant in _texts(suggestions, typed)


@pytest.mark.parametrize("typed", ["suor", "iphone 16", "iphone 51", "yoogguurt", "iphone 15 x", "12345"])
def test_short_words_numbers_and_two_edits_are_not(suggestions, typed):
    assert _texts(suggestions, typed) == []


def test_what_is_typed_right_is_not_corrected(suggestions):
    assert all(text.casefold().startswith("cream") or " cream" in text for text in _texts(suggestions, "cream"))


def test_chinese_prefixes_find_words_brands_and_queries(suggestions):
    assert "燕麦奶" in _texts(suggestions, "燕") and "燕麦工坊" in _texts(suggestions, "燕麦")
    assert "燕麦奶 无糖" in _texts(suggestions, "燕麦奶 ")
    assert _texts(suggestions, "饮") == ["饮料"]
    assert any("巧克力" in text for text in _texts(suggestions, "巧克"))
    assert _texts(suggestions, "葡") == []


def test_width_case_and_blanks_do_not_matter(suggestions):
    assert _texts(suggestions, "  Ｇreek   Ｙog") == _texts(suggestions, "greek yog") != []


def test_what_is_of_the_shopper_comes_first(suggestions):
    own = {"Daisy": "brand", "Yogurt": "category"}
    first = suggestions.suggest("", 3, own)
    assert [(one.text, one.own) for one in first[:2]] == [("Daisy", True), ("Yogurt", True)] and not first[2].own
    assert _texts(suggestions, "yog", 2, own)[0] == "Yogurt"
    assert _texts(suggestions, "yoghu", 1, own) == ["Yogurt"]
    assert "Daisy" not in _texts(suggestions, "yog", 10, own)
    assert len({text.casefold() for text in _texts(suggestions, "", 100, own)}) == len(
        _texts(suggestions, "", 100, own)
    )


def test_what_was_saved_is_loaded_and_an_older_index_has_none(suggestions, tmp_path):
    suggestions.save(tmp_path)
    again = Suggestions.load(tmp_path)
    assert again is not None and again.suggest("g", 20) == suggestions.suggest("g", 20)
    (tmp_path / "suggestions.arrow").unlink()
    assert Suggestions.load(tmp_path) is None


def test_an_empty_catalog_suggests_nothing():
    assert Suggestions([]).suggest("a", 10) == [] and Suggestions([]).suggest("", 10) == []
    assert Suggestions([]).suggest("yoghurt", 10, {"Yogurt": "category"}) == []
