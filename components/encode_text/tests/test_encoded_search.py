"""Dense leg and relevance model of a search: what they find and rank, and what they leave to the words."""

from pathlib import Path

import fsspec
import numpy as np
import pytest

from components.encode_text.config import EncoderOptions
from components.encode_text.export import export_encoder
from components.encode_text.tests.word_encoder import write_model
from components.ingest_events.tests.test_object_store import bucket, endpoint
from components.shared.errors import InputError
from components.shared.search import dense
from components.shared.search.candidates import ItemFacts
from components.shared.search.config import SearchOptions
from components.shared.search.dense import DenseIndex
from components.shared.search.documents import Document
from components.shared.search.relevance import FEATURES, RelevanceModel
from components.shared.search.searching import CatalogSearch
from components.shared.text.encoder import TextEncoder

__all__ = ["bucket", "endpoint"]

ITEMS = [
    Document("red-couch", "Red couch"), Document("couch", "Couch"), Document("settee", "Settee oak"),
    Document("bike", "Bike"), Document("cycle", "Cycle crimson", description="Bike"), Document("laptop", "Laptop"),
    Document("pen", "Fountain pen"), Document("tea", "绿茶"), Document("none", ""),
]  # fmt: skip
PRICE = np.array([500, 300, 200, 100, 150, 900, 5, 3, np.nan], np.float32)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("words")
    export_encoder(str(write_model(root / "model")), root / "encoder", EncoderOptions(quantise=False, scale=1))
    return root / "encoder"


def opened(folder: Path, **options) -> CatalogSearch:
    folder.mkdir(parents=True, exist_ok=True)
    CatalogSearch.build(lambda: iter(ITEMS), folder, SearchOptions(**options))
    return CatalogSearch.load(folder, ItemFacts(PRICE))


@pytest.fixture(scope="module")
def search(encoder, tmp_path_factory) -> CatalogSearch:
    return opened(tmp_path_factory.mktemp("search"), encoder=str(encoder))


def ids(search: CatalogSearch, query: str, allowed=None) -> list[str]:
    return [ITEMS[row].item_id for row in search.find(search.understand(query), 10, allowed).item]


def test_word_that_no_item_has_finds_what_means_it(search):
    found = search.find(search.understand("sofa"), 10)
    assert {ITEMS[row].item_id for row in found.item} == {"red-couch", "couch", "settee"}
    assert ITEMS[found.item[0]].item_id == "couch" and found.by == "meaning" and found.rank_class.max() < 2
    assert ids(search, "sofa", np.arange(len(ITEMS)) != 1)[0] != "couch"
    assert "red-couch" not in ids(search, "sofa under 400") and ids(search, "sofa under 400")


def test_nothing_near_is_an_honest_empty_answer(search):
    for query in ("zeppelin", "茶杯", "!!"):
        found = search.find(search.understand(query), 10)
        assert not len(found.item) and found.by == "words", query


def test_meaning_adds_only_where_no_item_has_all_words(search):
    assert ids(search, "couch")[0] == "couch" and set(ids(search, "couch")) == {"couch", "red-couch"}
    found = search.find(search.understand("oak sofa"), 10)
    names = [ITEMS[row].item_id for row in found.item]
    assert names[0] == "settee" and set(names) == {"settee", "couch"} and found.by == "words and meaning"


def test_chinese_is_left_to_the_words(search):
    found = search.find(search.understand("绿茶"), 10)
    assert [ITEMS[row].item_id for row in found.item] == ["tea"] and found.by == "words"


def test_given_items_are_ranked_by_words_and_meaning(search):
    rows = np.array([6, 8, 1, 5, 0])
    ranked = [ITEMS[row].item_id for row in search.rank(search.understand("sofa"), rows)]
    assert ranked[:2] == ["couch", "red-couch"] and sorted(ranked[2:]) == ["laptop", "none", "pen"]
    assert len(search.rank(search.understand("zeppelin"), rows)) == 5


def test_threshold_and_model_are_options(encoder, tmp_path):
    assert ids(opened(tmp_path / "strict", encoder=str(encoder), least_meaning=1.0), "sofa") == []
    dear = RelevanceModel({"price": 5.0}, {})
    dear.write(tmp_path / "relevance.json")
    found = opened(tmp_path / "dear", relevance=str(tmp_path / "relevance.json"))
    assert ids(found, "couch bike") == ["red-couch", "couch", "cycle", "bike"]
    assert ids(found.with_model(None), "couch bike")[:1] != ["red-couch"]


def test_encoder_and_model_come_from_an_object_store(encoder, bucket, tmp_path):
    store = fsspec.filesystem("s3")
    store.put(str(encoder), "shop/encoder", recursive=True)
    store.pipe("shop/relevance.json", b'{"weights": {"meaning": 1.0}}')
    found = opened(tmp_path / "there", encoder=f"{bucket}/encoder/", relevance=f"{bucket}/relevance.json")
    assert ids(found, "sofa")[0] == "couch"
    with pytest.raises(InputError, match=r"'s3://shop/gone[.]json' does not exist"):
        opened(tmp_path / "gone", relevance=f"{bucket}/gone.json")


def test_another_catalog_takes_what_is_encoded_from_the_one_before(encoder, tmp_path, monkeypatch):
    opened(tmp_path / "before", encoder=str(encoder))
    items = [*ITEMS[:3], Document("new", "Notebook"), *ITEMS[3:]]
    asked: list[str] = []
    real = TextEncoder.items
    monkeypatch.setattr(TextEncoder, "items", lambda self, texts: asked.extend(texts) or real(self, texts))
    after = tmp_path / "after"
    after.mkdir()
    # The option's folder may be gone: the bundle has all that is needed.
    options = SearchOptions(encoder="s3://gone/encoder")
    CatalogSearch.build(lambda: iter(items), after, options, previous=tmp_path / "before")
    assert asked == ["Notebook", "绿茶", ""], "texts without a vector are tried again"
    search = CatalogSearch.load(after, ItemFacts(np.append(PRICE, 1)))
    found = search.find(search.understand("computer"), 10)
    assert {items[row].item_id for row in found.item} == {"new", "laptop"}


def test_large_catalog_has_a_graph_that_finds_the_same(encoder, tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    words = ("sofa", "couch", "bike", "laptop", "red", "crimson", "pen")
    items = [Document(str(n), " ".join(random.choice(words, 3))) for n in range(400)]
    opened_encoder = TextEncoder.load(encoder)
    found = []
    for limit in (1_000, 100):
        monkeypatch.setattr(dense, "EXACT_UP_TO", limit)
        folder = tmp_path / str(limit)
        folder.mkdir()
        DenseIndex.build(iter(items), folder, opened_encoder)
        asked = DenseIndex.load(folder, opened_encoder, 0.3).ask("crimson bicycle")
        assert asked is not None
        rows = asked.best(20)
        assert (np.diff(asked.scores(rows)) <= 1e-6).all() and asked.scores(rows).min() >= 0.3
        found.append(asked.scores(rows))
    assert np.allclose(found[0], found[1], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"encoder": "/nowhere"}, "search.encoder: '/nowhere/encoder.onnx' does not exist"),
     ({"relevance": "/nowhere.json"}, "search.relevance: '/nowhere.json' does not exist")],
)  # fmt: skip
def test_missing_encoder_or_model_is_named(tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        opened(tmp_path, **options)


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"weights": {"colour": 1}}', "weighs 'colour'"), ('{"weights": {"title": "x"}}', "holds no relevance model"),
     ("[]", "holds no relevance model"), ('{"weights": {"title": NaN}}', "not a finite number")],
)  # fmt: skip
def test_damaged_relevance_model_is_refused(tmp_path, text, said):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(InputError, match=said) as error:
        RelevanceModel.read(tmp_path / "model.json")
    assert error.value.fix


def test_every_feature_is_computed_for_every_candidate(search):
    query = search.understand("oak sofa")
    features = search.features(query, search.candidates(query, 10))
    assert features.shape == (2, len(FEATURES)) and np.isfinite(features).all()
    title = features[:, FEATURES.index("title")]
    assert np.count_nonzero(title) == 1 and 0 < title.max() < 1, "only the settee has a word of it"
