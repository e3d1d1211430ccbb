"""A small compiled model made by hand: 40 items, 4 shoppers, ONNX graphs with chosen weights, real indexes.

Its answers are predictable, so tests of the predictor need no training.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper
from scipy import sparse

from components.shared.features.columns import DenseInput, ItemStatistic, Task
from components.shared.features.history import COLUMNS
from components.shared.features.spec import DAY, FeatureSpec, SparseFeature
from components.shared.recommender.neighbours import Neighbours
from components.shared.recommender.vector_index import VectorIndex
from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.signing import load_or_create_key
from components.shared.schema.tables import DEFAULT_EVENT_WEIGHTS, EVENT_TYPES
from components.shared.search.documents import read_documents
from components.shared.search.searching import CatalogSearch
from components.shared.text.tokenizer import tokenize

AS_OF = 1_700_000_000
DIM = 4
ITEMS = [
    ("oat", "Oat milk 1L", ["DAIRY", "MILK"], "Oatly", 2.49, True),
    ("whole", "Whole milk 1L", ["DAIRY", "MILK"], "FarmCo", 1.19, True),
    ("yogurt", "Greek yogurt", ["DAIRY", "YOGURT"], "FarmCo", 3.5, True),
    ("berries", "Blueberries 500g", ["PRODUCE", "BERRIES"], None, 4.99, True),
    ("燕麦", "燕麦奶 1L", ["DAIRY", "MILK"], "燕麦", 2.3, True),
    ("gone", "Old cheese", ["DAIRY", "CHEESE"], "FarmCo", 5.0, False),
    ("box", "Mystery box", [], None, None, True),
    *((f"snack{n}", f"Snack number {n}", ["SNACKS"], "Crunch", 1.0 + n, True) for n in range(33)),
]
ATTRIBUTES = {
    "oat": {"Diet": "vegan", "Pack": "carton"}, "whole": {"Pack": "bottle"}, "berries": {"Diet": "Vegan"},
    "燕麦": {"Diet": "vegan", "产地": "中国"}, **{f"snack{n}": {"Diet": "vegetarian"} for n in range(0, 33, 3)},
}  # fmt: skip
CREATED = {"oat": 30, "whole": 400, "燕麦": 10, **{f"snack{n}": 100 + n // 2 for n in range(33)}}
"""Days before AS_OF; unknown for the other items."""
EVENTS = [
    *(("ann", "oat", "purchase", AS_OF - days * DAY) for days in (79, 65, 51, 37, 23, 9)),
    ("ann", "yogurt", "purchase", AS_OF - 30 * DAY), ("ann", "berries", "view", AS_OF - 2 * DAY),
    ("ann", "gone", "purchase", AS_OF - 5 * DAY),
    *(("bob", "snack1", "purchase", AS_OF - days * DAY) for days in (12, 4)),
    ("late", "whole", "purchase", AS_OF - 3 * DAY),
]  # fmt: skip
USERS = {"ann": 1, "bob": 2, "late": 3, "silent": 4}
"""`late` and `silent` are known but have no embedding of their own; `silent` has no events either."""


def write_compiled(folder: Path) -> Path:
    """Write what compile_model would write."""
    folder.mkdir(parents=True)
    columns = _item_columns()
    spec = _spec(columns)
    spec.write(folder / "spec.json")
    pq.write_table(pa.table(columns), folder / "items.parquet")
    pq.write_table(pa.table({"row": list(USERS.values()), "user_id": list(USERS)}), folder / "users.parquet")
    for name in ("category", "brand", "token"):
        values = _VALUES[name]
        pq.write_table(pa.table({"row": list(values.values()), "value": list(values)}), folder / f"{name}.parquet")
    _write_history(folder / "history", [""] + [item[0] for item in ITEMS])
    np.save(folder / "statistics.npy", _statistics()[:, : ItemStatistic.POPULARITY_DECAYED])
    _write_neighbours(folder / "neighbours")
    _write_models(folder, spec)
    (folder / "search").mkdir()
    CatalogSearch.build(lambda: read_documents(folder / "items.parquet"), folder / "search")
    for name in ("training_statistics", "compile", "licences"):
        (folder / f"{name}.json").write_text("{}\n")
    return folder


def write_golden(folder: Path) -> None:
    """Let the engine answer three requests and store the answers in golden.json."""
    from components.shared.recommender.recommender import Recommender
    from serving.engine import Engine
    from serving.protocol import parse_instance

    engine = Engine(Recommender.open(folder), "golden", "bundle")
    golden = []
    for request in ({"user_id": "ann", "k": 5}, {"query": "milk", "k": 5}, {"user_id": "nobody", "k": 5}):
        items = engine.answer([parse_instance(request)], ["golden"])[0].items
        golden.append({"request": request, "items": [item.item_id for item in items],
                       "scores": [item.score for item in items]})  # fmt: skip
    (folder / "golden.json").write_text(json.dumps(golden))


def write_bundle(folder: Path, key: Path) -> Path:
    """A signed bundle of the handmade model; `key` is created when missing."""
    write_compiled(folder)
    write_golden(folder)
    tasks = ("purchase_again", "purchase_first")
    write_manifest(folder, BundleFacts(name="handmade", as_of=AS_OF, schema_hash="x", tasks=tasks, metrics={"n": 1.0}))
    sign(folder, load_or_create_key(key))
    return folder


_VALUES: dict[str, dict[str, int]] = {"category": {}, "brand": {}, "token": {}}


def _row(name: str, value: str) -> int:
    return _VALUES[name].setdefault(value, len(_VALUES[name]) + 1)


def _item_columns() -> dict[str, pa.Array]:
    ids: dict[str, list[list[int]]] = {"category": [[]], "brand": [[]], "price_bucket": [[0]], "title": [[]]}
    for _, title, path, brand, price, _ in ITEMS:
        ids["category"].append([_row("category", name) for name in path])
        ids["brand"].append([_row("brand", brand)] if brand else [0])
        ids["price_bucket"].append([0 if price is None else 1 + int(price > 2) + int(price > 5)])
        ids["title"].append([_row("token", token) for token in tokenize(title)][:8])
    ids["brand"][0] = [0]
    unknown = ("", "", [], None, None, False)
    rows = list(zip(unknown, *ITEMS, strict=True))
    return {
        "item_id": pa.array(rows[0]), "title": pa.array(rows[1]),
        "categories": pa.array(rows[2], pa.list_(pa.string())), "brand": pa.array(rows[3], pa.string()),
        "list_price": pa.array(rows[4], pa.float32()),
        "price": pa.array(rows[4], pa.float32()),
        "available": pa.array(rows[5]),
        "attributes": pa.array([list(ATTRIBUTES.get(name, {}).items()) for name in rows[0]],
                               pa.map_(pa.string(), pa.string())),
        "created_at": pa.array([AS_OF - CREATED[name] * DAY if name in CREATED else None for name in rows[0]],
                               pa.timestamp("s", tz="UTC")),
        **{f"{name}_ids": pa.array(values, pa.list_(pa.int32())) for name, values in ids.items()},
    }  # fmt: skip


def _spec(columns: dict[str, pa.Array]) -> FeatureSpec:
    rows = {name: len(values) + 1 for name, values in _VALUES.items()}

    def feature(name: str, count: int, length: int) -> SparseFeature:
        return SparseFeature(name=name, rows=count, max_length=length)

    return FeatureSpec(
        as_of=AS_OF, target_event="purchase", event_weights=DEFAULT_EVENT_WEIGHTS, half_life_days=30.0,
        interest_history=50, max_history=200, price_edges=(2.0, 5.0), price_log_mean=1.0, price_log_std=0.5,
        popularity_days=(7, 28, 91), schema_hash="x",
        user_features=(feature("user", 3, 1), feature("sequence", len(ITEMS), 8),
                       feature("interest_category", rows["category"], 4), feature("interest_brand", rows["brand"], 4),
                       feature("query", rows["token"], 8)),
        item_features=(feature("item", len(ITEMS), 1), feature("category", rows["category"], 4),
                       feature("brand", rows["brand"], 1), feature("price_bucket", 4, 1),
                       feature("title", rows["token"], 8)),
    )  # fmt: skip


def _statistics() -> np.ndarray:
    """Whole milk is what everybody buys; nobody has bought yogurt, berries, 燕麦奶, old cheese or the box lately."""
    table = np.zeros((len(ITEMS) + 1, len(ItemStatistic)), np.float32)
    whole, oat, snacks = _at("whole"), _at("oat"), slice(_at("snack0"), None)
    for column, values in {
        ItemStatistic.POPULARITY_SHORT: (312, 12),
        ItemStatistic.POPULARITY_MIDDLE: (900, 60),
        ItemStatistic.POPULARITY_LONG: (2000, 170),
        ItemStatistic.BUYERS: (150, 40),
        ItemStatistic.REPEAT_RATE: (0.4, 0.6),
        ItemStatistic.DISCOVERY_SHORT: (5, 2),
        ItemStatistic.DISCOVERY_MIDDLE: (20, 8),
    }.items():
        table[whole, column], table[oat, column] = values
        table[snacks, column] = 1
    return table


def _at(item_id: str) -> int:
    """Catalog row of an item."""
    return 1 + [item[0] for item in ITEMS].index(item_id)


def _write_history(folder: Path, item_ids: list[str]) -> None:
    folder.mkdir()
    events = sorted((USERS[user], time, item_ids.index(item), EVENT_TYPES.index(kind)) for user, item, kind, time
                    in EVENTS)  # fmt: skip
    values = {"item": [e[2] for e in events], "event_type": [e[3] for e in events],
              "timestamp": [e[1] for e in events], "price": [1.0] * len(events)}  # fmt: skip
    for name, dtype in COLUMNS.items():
        np.save(folder / f"{name}.npy", np.array(values[name], dtype))
    counts = np.bincount([e[0] for e in events], minlength=max(USERS.values()) + 1)
    np.save(folder / "offsets.npy", np.r_[0, np.cumsum(counts)])


def _write_neighbours(folder: Path) -> None:
    """Who buys oat milk also buys snack 0."""
    items, pair = len(ITEMS) + 1, [_at("oat"), _at("snack0")]
    near = sparse.csr_matrix(([0.5, 0.5], (pair, pair[::-1])), shape=(items, items), dtype=np.float32)
    Neighbours(near).save(folder)


def _write_models(folder: Path, spec: FeatureSpec) -> None:
    (folder / "retriever").mkdir()
    (folder / "ranker").mkdir()
    random = np.random.default_rng(1)
    vectors, bias = random.normal(size=(len(ITEMS) + 1, DIM)).astype(np.float32), np.zeros(len(ITEMS) + 1, np.float32)
    np.save(folder / "retriever" / "item_vectors.npy", vectors)
    np.save(folder / "retriever" / "item_bias.npy", bias)
    VectorIndex.build(vectors, bias).save(folder / "retriever" / "index.faiss")
    table = random.normal(size=(max(f.rows for f in spec.user_features), DIM)).astype(np.float32)
    _save(
        folder / "retriever" / "user.onnx",
        [helper.make_node("Gather", ["table", "ids"], ["rows"]),
         helper.make_node("Unsqueeze", ["weights", "two"], ["w"]),
         helper.make_node("Mul", ["rows", "w"], ["weighted"]),
         helper.make_node("ReduceSum", ["weighted", "one"], ["vector"], keepdims=0)],
        [("ids", TensorProto.INT64, 2), ("weights", TensorProto.FLOAT, 2)], "vector",
        {"table": table, "two": np.array([2]), "one": np.array([1])},
    )  # fmt: skip
    weight = np.zeros((len(DenseInput), len(Task)), np.float32)
    weight[DenseInput.TIMES, Task.AGAIN] = 2.0
    weight[DenseInput.RECENCY_30, Task.AGAIN] = 1.0
    weight[DenseInput.CATEGORY_LEAF] = 1.0
    weight[DenseInput.POPULARITY_SHORT] = 0.1
    weight[DenseInput.RETRIEVAL_SCORE] = 0.05
    _save(
        folder / "ranker" / "ranker.onnx",
        [helper.make_node("MatMul", ["dense", "weight"], ["logit"]),
         helper.make_node("Sub", ["logit", "three"], ["low"]),
         helper.make_node("Sigmoid", ["low"], ["tasks"])],
        [("user_ids", TensorProto.INT64, 2), ("user_weights", TensorProto.FLOAT, 2), ("item_ids", TensorProto.INT64, 2),
         ("item_weights", TensorProto.FLOAT, 2), ("row", TensorProto.INT64, 1), ("dense", TensorProto.FLOAT, 2)],
        "tasks", {"weight": weight, "three": np.array([3.0], np.float32)},
    )  # fmt: skip
    config = {"tasks": ["purchase_again", "purchase_first"], "candidates": {"retrieved": 20, "popular": 10}}
    (folder / "ranker" / "ranker.json").write_text(json.dumps(config))


def _save(path: Path, nodes: list, inputs: list[tuple[str, int, int]], output: str, constants: dict) -> None:
    graph = helper.make_graph(
        nodes, "handmade",
        [helper.make_tensor_value_info(name, kind, [None] * rank) for name, kind, rank in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
