"""The three worked examples of the brief that shoprank started from."""

import duckdb
import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.export import Dim

from components.build_features.cleaning import clean
from components.build_features.config import CleaningConfig, VocabularyConfig
from components.build_features.encode import write_history
from components.build_features.vocabulary import encode_items
from components.compile_model.export import export_onnx
from components.ingest_events.ingest import IngestOutputs, ingest
from components.ingest_events.tests.ingesting import FOUNDING, FOUNDING_MAPPING
from components.shared.features.history import Histories, HistoryStore
from components.shared.features.ragged import Ragged
from components.shared.features.shopper import item_interest, shopper_features
from components.shared.features.vocabulary import read_users
from components.shared.recommender.vector_index import VectorIndex
from components.shared.schema.tables import DEFAULT_EVENT_WEIGHTS

ATTRIBUTES = {"1001": (1, 0, 0), "1002": (0, 1, 0), "1003": (1, 1, 0),
              "1004": (1, 0, 1), "1005": (0, 1, 1), "1006": (1, 1, 1)}  # fmt: skip
WEIGHTS = {("1", "1001"): 1.0, ("1", "1002"): 0.5, ("1", "1003"): 1.0,
           ("2", "1004"): 1.0, ("2", "1005"): 0.5, ("2", "1006"): 1.0}  # fmt: skip
FOREVER = float("inf")
"""Half-life of the example, whose weights do not decay."""


@pytest.fixture(scope="module")
def behaviour(tmp_path_factory) -> tuple[Histories, list[str], list[str]]:
    """The example's events after the usual steps: ingested, cleaned, encoded and read back."""
    folder = tmp_path_factory.mktemp("example")
    (folder / "events.csv").write_text(FOUNDING)
    names = ("events", "items", "users", "rejected")
    summary = ingest(
        str(folder / "events.csv"), IngestOutputs(**{name: folder / name for name in names}), mapping=FOUNDING_MAPPING
    )
    assert (summary.events, summary.items, summary.rejected_rows) == (6, 6, 0)
    end = 1_609_582_201
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        clean(database, folder / "events", folder / "items", CleaningConfig())
        encode_items(database, folder, end, VocabularyConfig())
        write_history(database, folder / "history")
        items = [item for (item,) in database.execute("SELECT item_id FROM item_row ORDER BY row").fetchall()]
    rows = read_users(folder / "users.parquet")
    users = sorted(rows)
    store = HistoryStore.open(folder / "history", len(rows))
    shoppers = np.array([rows[user] for user in users])
    return store.before(shoppers, np.full(len(users), end), 100), users, ["", *items]


def test_first_example_interest_weights(behaviour, shop):
    histories, users, items = behaviour
    row, item, weight = item_interest(histories, shop.spec(half_life_days=FOREVER))
    found = {(users[r], items[i]): w for r, i, w in zip(row.tolist(), item.tolist(), weight.tolist(), strict=True)}
    assert found == WEIGHTS
    assert DEFAULT_EVENT_WEIGHTS["search"] == 1.0 and DEFAULT_EVENT_WEIGHTS["view"] == 0.5


def test_first_example_interest_vector_is_behaviour_times_attributes(behaviour, shop):
    histories, users, items = behaviour
    weights = np.array([[WEIGHTS.get((user, item), 0.0) for item in items] for user in users])
    attributes = np.array([ATTRIBUTES.get(item, (0, 0, 0)) for item in items])
    interest = weights @ attributes
    np.testing.assert_array_equal(interest, [[2.0, 1.5, 0.0], [2.0, 1.5, 2.5]])

    # The same through the features, with the attributes as categories 1, 2 and 3 of each item.
    attribute_ids = [np.flatnonzero(row) + 1 for row in attributes]
    lengths = [len(values) for values in attribute_ids]
    catalog = shop.catalog()
    catalog.features["category"] = Ragged.mean(np.r_[0, np.cumsum(lengths)], np.concatenate(attribute_ids))
    catalog.features["brand"] = Ragged.ones(np.zeros(len(items)))
    three = type(shop)(interest_length=3)
    found = shopper_features(histories, catalog, three.spec(half_life_days=FOREVER))["interest_category"]
    dense = np.zeros((len(users), 4))
    dense[np.repeat(np.arange(len(users)), found.lengths), found.values] = found.weights
    np.testing.assert_allclose(dense[:, 1:], interest / interest.sum(1, keepdims=True), rtol=1e-6)


def test_second_example_scores_are_dot_products():
    users = np.array([[1, 0, 1], [1, 1, 1]], np.float32)
    items = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 1]], np.float32)
    rows, scores = VectorIndex.build(items, np.zeros(4, np.float32)).search(users, 4)
    assert rows[0, 0] == 3 and scores[0, 0] == 2.0
    for user, found_rows, found_scores in zip(users, rows, scores, strict=True):
        np.testing.assert_array_equal(found_scores, (items @ user)[found_rows])
        assert sorted(found_rows.tolist()) == [0, 1, 2, 3]


def test_second_example_bias_raises_the_score_of_an_item():
    items = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    rows, scores = VectorIndex.build(items, np.array([0.0, 0.25], np.float32)).search(np.ones((1, 3), np.float32), 2)
    assert rows.tolist() == [[1, 0]] and scores.tolist() == [[1.25, 1.0]]


class Classifier(nn.Module):
    """784-128-10 with ReLU and softmax."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.layers(pixels), 1)


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Scanned digits of 8 x 8 pixels, enlarged three times and padded to 28 x 28."""
    images, labels = load_digits(return_X_y=True)
    enlarged = np.kron(images.reshape(-1, 8, 8) / 16.0, np.ones((3, 3)))
    padded = np.pad(enlarged, ((0, 0), (2, 2), (2, 2))).reshape(len(images), 784)
    return torch.tensor(padded, dtype=torch.float32), torch.tensor(labels)


@pytest.mark.slow
def test_third_example_exported_classifier_matches_the_trained_one(digits, tmp_path):
    pixels, labels = digits
    torch.manual_seed(0)
    order = torch.randperm(len(pixels))
    train, test = order[360:], order[:360]
    model = Classifier()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(5):
        for batch in train[torch.randperm(len(train))].split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model.layers(pixels[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        trained = model(pixels[test])
    assert (trained.argmax(1) == labels[test]).float().mean() >= 0.89

    export_onnx(model, tmp_path / "digits.onnx", {"pixels": (torch.zeros(2, 784), {0: Dim("batch", min=1, max=4096)})})
    session = onnxruntime.InferenceSession(str(tmp_path / "digits.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, len(test)):
        served = session.run(["out"], {"pixels": pixels[test][:count].numpy()})[0]
        np.testing.assert_allclose(served, trained[:count].numpy(), atol=1e-5)
        np.testing.assert_allclose(served.sum(1), 1.0, atol=1e-5)
