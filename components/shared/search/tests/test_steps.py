"""Each step of a search, switched off, does exactly what it no longer does."""

import numpy as np
import pytest

from components.shared.search.candidates import ItemFacts
from components.shared.search.config import SearchOptions
from components.shared.search.documents import Document
from components.shared.search.relevance import RelevanceModel
from components.shared.search.searching import CatalogSearch
from components.shared.search.steps import EVERY_STEP, STEPS

ITEMS = [
    Document("mill", "Coffee mill", "Clay", description="for beans and beans and beans"),
    Document("beans", "Coffee beans", "Roaster"), Document("roaster", "Roaster", "Steel"),
    Document("sofa", "Sofa", "Clay"), Document("bag", "Bag of beans", description="coffee"),
    Document("iron", "Iron", "Steel", description="beans " * 30),
]  # fmt: skip
PRICE = np.array([50, 8, 90, 400, 6, 20], np.float32)
RULES = ("couch => sofa",)


def built(folder, **options) -> CatalogSearch:
    folder.mkdir()
    CatalogSearch.build(lambda: iter(ITEMS), folder, SearchOptions(synonyms=RULES, **options))
    return CatalogSearch.load(folder, ItemFacts(PRICE)).with_model(RelevanceModel({"price": 1.0}, {}))


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    return built(tmp_path_factory.mktemp("search") / "built")


def ids(search, query):
    return [ITEMS[row].item_id for row in search.find(search.understand(query), 10).item]


@pytest.fixture
def without(search):
    return lambda step: search.with_steps(EVERY_STEP.without(step))


def test_spelling(search, without):
    assert ids(search, "cofee") and not ids(without("spelling"), "cofee")
    assert without("spelling").understand("cofee").unknown == ("cofee",)


def test_synonyms(search, without):
    assert ids(search, "couch") == ["sofa"] and not without("synonyms").understand("couch").synonyms


def test_intents(search, without):
    assert set(ids(search, "coffee under 10")) == {"beans", "bag"}
    read = without("intents").understand("coffee under 10 -mill")
    assert not read.intents.limits and "under" in read.text


def test_names(search, without):
    assert search.understand("clay").labels and not without("names").understand("clay").labels


def test_relaxing(search, without):
    assert ids(search, "coffee sofa") and not ids(without("relaxing"), "coffee sofa")
    assert ids(search, "sofa under 10") == ["sofa"] and not ids(without("relaxing"), "sofa under 10")
    assert set(ids(without("relaxing"), "the beans for coffee")) == {"mill", "beans", "bag"}, "'for' may be missing"


def test_field_weights(search, without):
    words = search.understand("coffee").words
    score = {step: found.index.search("coffee", words, 10) for step, found in
             (("on", search), ("off", without("field_weights")))}  # fmt: skip
    of = {step: dict(zip(one.item.tolist(), one.score.tolist(), strict=True)) for step, one in score.items()}
    assert of["off"][0] == pytest.approx(of["on"][0] / 2) and of["off"][4] == pytest.approx(of["on"][4] / 0.7)


def test_coverage(search, without):
    plain = without("coverage")
    assert "iron" not in ids(search, "coffee mill bean") and "iron" in ids(plain, "coffee mill bean")
    found = plain.find(plain.understand("coffee beans"), 10)
    assert found.rank_class.tolist()[:2] == [2, 0], "the item of this title stays first, no other is of a class"


def test_relevance_and_meaning(search, without):
    assert ids(search, "coffee")[0] == "mill", "the dearest item by the model"
    assert ids(without("relevance"), "coffee") == ids(search.with_model(None), "coffee")
    assert search.used() == frozenset(STEPS) - {"meaning"}
    assert without("relevance").used() == search.used() - {"relevance"}


def test_words_of_another_index(search, tmp_path):
    plain = search.with_words_of(built(tmp_path / "plain", stemming=False))
    assert ids(search, "ironed") == ["iron"] and not ids(plain, "ironed")
    assert ids(plain, "couch") == ["sofa"] and plain.used() == search.used()
