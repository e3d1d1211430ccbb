"""Search of a made catalog of 2,000 items, by kind of query."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.search.candidates import ItemFacts
from components.shared.search.searching import CatalogSearch
from components.shared.search.tests.made_catalog import made_catalog
from components.shared.search.tests.made_queries import Query, made_queries

LEAST = 0.9
ITEMS = made_catalog()
ALLOWED = np.random.default_rng(5).random(len(ITEMS)) < 0.3


@pytest.fixture(scope="module")
def search(tmp_path_factory) -> CatalogSearch:
    folder = tmp_path_factory.mktemp("search")
    CatalogSearch.build(lambda: (item.document for item in ITEMS), folder)
    return CatalogSearch.load(folder, ItemFacts(np.array([item.price for item in ITEMS], np.float32)))


def failure(search: CatalogSearch, query: Query) -> str:
    """What is wrong with the answer to a query; '' if nothing is."""
    read = search.understand(query.text)
    found = [ITEMS[row] for row in search.find(read, 10).item]
    if not any(map(query.right, ITEMS)):
        return "the catalog has no right item"
    if not found or not query.right(found[0]):
        return f"first is {found[0].document.title if found else None!r}, read as {read.told()}"
    wrong = [item.document.title for item in found if query.wrong(item)]
    return f"found {wrong[0]!r}, read as {read.told()}" if wrong else ""


def test_right_item_is_first_for_each_kind_of_query(search):
    asked, failed = defaultdict(int), defaultdict(list)
    for query in made_queries():
        asked[query.kind] += 1
        if why := failure(search, query):
            failed[query.kind].append(f"    {query.text}: {why}")
    share = {kind: 1 - len(failed[kind]) / count for kind, count in asked.items()}
    table = "\n".join(
        f"{kind:22} {share[kind]:.3f} of {count}" + "".join(f"\n{line}" for line in failed[kind])
        for kind, count in asked.items()
    )
    assert sum(asked.values()) >= 300
    assert min(share.values()) >= LEAST, f"hit@1 by kind\n{table}"


WORDS = st.one_of(
    st.sampled_from([word for query in made_queries() for word in query.text.split()]),
    st.sampled_from('- under $20 without not no free 不含 无 以下 2 5" 6x 半 万 half pack of'.split()),
    st.text(max_size=5),
)


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=7).map(" ".join), st.lists(WORDS, max_size=7).map("".join))
)
def test_any_text_finds_only_allowed_items(search, text):
    found = search.find(search.understand(text), 10, ALLOWED)
    assert ALLOWED[found.item].all() and len(set(found.item)) == len(found.item) <= 10
    assert np.isfinite(found.score).all()


@settings(deadline=None)
@given(st.integers(0, len(ITEMS) - 1))
def test_every_word_of_a_title_as_query_is_in_its_item(search, row):
    for word in search.index.analyzer.words(ITEMS[row].document.title):
        assert search.index.matched(word, np.array([row]))[0] > 0, word
