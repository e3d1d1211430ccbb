"""What a shop's query log says about spelling: which word a misspelt one means, and what is no misspelling."""

import numpy as np
import pytest

from components.shared.search.candidates import ItemFacts
from components.shared.search.config import SearchOptions
from components.shared.search.documents import Document
from components.shared.search.searching import CatalogSearch

TITLES = ["Gold candle", "Long handle", "Handle of wood", "Wool coach blanket", "Grey sofa", "Blue sofa", "Lamp",
          "Bubblegum", "Grey lamp"]  # fmt: skip
ITEMS = [Document(str(row), title) for row, title in enumerate(TITLES)]


@pytest.fixture
def search(tmp_path):
    """Builds a search of the shop from its query log."""

    def built(queries=None, synonyms=()) -> CatalogSearch:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        CatalogSearch.build(lambda: iter(ITEMS), folder, SearchOptions(synonyms=synonyms), queries=queries)
        return CatalogSearch.load(folder, ItemFacts(np.full(len(ITEMS), np.nan, np.float32)))

    return built


def corrected(search, query):
    return dict(search.understand(query).corrections)


def test_of_two_words_the_one_that_is_searched_more_often_is_meant(search):
    assert corrected(search(), "xandle") == {"xandle": "handle"}, "two items have it, one has 'candle'"
    assert corrected(search({"gold candle": 50.0}), "xandle") == {"xandle": "candle"}
    assert corrected(search({"gold candle": 50.0, "handle": 70.0}), "xandle") == {"xandle": "handle"}
    assert corrected(search({"gold candle": 50.0}), "long xandle") == {"xandle": "handle"}, "the other words decide"


def test_searches_that_lead_nowhere_are_no_evidence(search):
    found = search({"zzzz candle": 500.0})
    assert corrected(found, "xandle") == {"xandle": "handle"}


def test_a_usual_misspelling_stays_one(search):
    found = search({"handel": 9_000.0, "handle": 3.0})
    assert corrected(found, "handel") == {"handel": "handle"} == corrected(found, "handel ")
    assert corrected(found, "handell") == {"handell": "handle"}, "nothing is corrected to it either"


def test_a_word_with_a_synonym_is_no_misspelling_and_may_be_meant(search):
    queries, rules = {"couch": 300.0}, ("couch => sofa",)
    assert corrected(search(queries), "couch") == {"couch": "coach"}
    found = search(queries, rules)
    assert corrected(found, "couch") == {} and found.understand("couch").synonyms == {"couch": ["sofa"]}
    for query in ("cuoch", "grey cuoch"):
        read = found.understand(query)
        assert dict(read.corrections) == {"cuoch": "couch"} and read.synonyms == {"couch": ["sofa"]}
    rows = found.find(found.understand("grey cuoch"), 10).item
    assert ITEMS[rows[0]].title == "Grey sofa"
    assert corrected(search(None, rules), "couch") == {}


def test_a_corrected_word_has_its_synonyms(search):
    found = search(None, ("lamp => sofa",))
    read = found.understand("lmap")
    assert dict(read.corrections) == {"lmap": "lamp"} and read.synonyms == {"lamp": ["sofa"]}
    assert len(found.find(read, 10).item) == 4
