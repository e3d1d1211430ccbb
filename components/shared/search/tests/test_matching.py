"""All items that a query matches: the same that the search finds, however many there are."""

import numpy as np
import pytest

from components.shared.search.candidates import ItemFacts
from components.shared.search.documents import Document
from components.shared.search.matching import Matching
from components.shared.search.searching import CatalogSearch

WORDS = ("oat", "milk", "sour", "cream", "yogurt", "greek", "sugar-free", "usb-c", "500 ml", "燕麦奶", "无糖", "牛奶")
PRICES = np.tile(np.array([1, 2.5, 4, np.nan, 9], np.float32), 60)
QUERIES = (
    "milk", "oat milk", "greek yogurt 500ml", "sour cream -oat", "milk without sugar", "milk under 3", "yogrt", "usb c",
    "燕麦奶", "无糖 牛奶", "oat milk over 100", "yogurt over 8 -greek", "item 7", "title of 3", "nothing at all",
    "zzzz",
)  # fmt: skip


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    random, folder = np.random.default_rng(7), tmp_path_factory.mktemp("search")
    texts = [" ".join(random.choice(WORDS, 3)) for _ in range(len(PRICES) - 2)]
    items = [Document("", ""), *(Document(f"item {n}", text, f"brand {n % 9}") for n, text in enumerate(texts))]
    items.append(Document("last", "Title of 3", "", ("Milk",)))
    CatalogSearch.build(lambda: iter(items), folder)
    return CatalogSearch.load(folder, ItemFacts(PRICES))


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_it_is_what_the_search_finds_with_the_same_classes(search, query, share):
    allowed = np.random.default_rng(1).random(len(PRICES)) < share
    understood = search.understand(query)
    found = search.find(understood, len(PRICES), allowed)
    matched = Matching(search, understood).within(allowed)
    assert np.flatnonzero(matched.mask).tolist() == sorted(found.item.tolist())
    assert matched.rank_class[found.item].tolist() == found.rank_class.tolist()
    assert not matched.rank_class[~matched.mask].any() and not (matched.mask & ~allowed).any()
    assert matched.as_asked.sum() == (found.rank_class > 0).sum()
