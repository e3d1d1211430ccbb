"""BM25 over a small bilingual catalog."""

import numpy as np
import pytest

from components.shared.text.lexical import LexicalIndex

TITLES = [
    "",
    "Whole Milk 1L dairy",
    "Oat Milk",
    "全脂牛奶 250ml",
    "燕麦奶 Oat drink",
    "Bread",
    "🥛🥛",
    "MILK choc milk",
]


@pytest.fixture(scope="module", params=["built", "loaded"])
def index(request, tmp_path_factory) -> LexicalIndex:
    built = LexicalIndex.build(TITLES)
    if request.param == "built":
        return built
    folder = tmp_path_factory.mktemp("lexical")
    built.save(folder)
    assert not list(folder.glob("*.pkl")) and not list(folder.glob("*.pickle"))
    return LexicalIndex.load(folder)


def test_search_ignores_case_and_plural(index):
    rows, scores = index.search("milks", 10)
    assert set(rows.tolist()) == {1, 2, 7}
    assert rows[0] == 7, "the word stands twice there"
    assert (np.diff(scores) <= 0).all() and (scores > 0).all()


def test_chinese_query_ranks_whole_word_matches_first(index):
    rows, _ = index.search("牛奶", 10)
    assert rows[0] == 3
    assert set(rows.tolist()) == {3, 4}, "燕麦奶 shares one character"


@pytest.mark.parametrize("query", ["", "   ", "🥛", "😀🚚", "zzz", "的", "\0"])
def test_query_without_matching_words_finds_nothing(index, query):
    rows, scores = index.search(query, 10)
    assert len(rows) == len(scores) == 0


def test_search_respects_the_mask_and_the_limit(index):
    allowed = np.ones(len(TITLES), bool)
    allowed[7] = False
    assert set(index.search("milk", 10, allowed)[0].tolist()) == {1, 2}
    assert len(index.search("milk", 1)[0]) == 1
    assert len(index.search("milk", 10, np.zeros(len(TITLES), bool))[0]) == 0


def test_rare_word_outweighs_a_frequent_one(index):
    rows, _ = index.search("oat milk dairy", 10)
    assert rows[0] == 1 or rows[0] == 2
    assert index.search("bread milk", 10)[0][0] == 5


@pytest.mark.parametrize("texts", [[""], ["", "🥛"], ["", "", ""]])
def test_catalog_without_words_finds_nothing(texts):
    assert len(LexicalIndex.build(texts).search("milk", 5)[0]) == 0
