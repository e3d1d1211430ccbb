"""The instances of one request are ranked together, and each is answered as if it were alone."""

import dataclasses

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime.quantization import QuantType, quantize_dynamic

from components.shared.features.spec import DAY
from components.shared.recommender.recommender import Recommender
from components.shared.storage import read_json, write_json
from serving.engine import Engine
from serving.explain import FEATURE_GROUPS
from serving.exploring import ExplorationConfig
from serving.protocol import parse_instance
from serving.tests.handmade import AS_OF, write_compiled


class Counted:
    """The bundle's models, with the calls of each counted."""

    def __init__(self, models):
        self.models, self.tasks, self.rows_independent = models, models.tasks, models.rows_independent
        self.calls = {"user_vectors": 0, "task_probabilities": 0}

    def item_inputs(self, *inputs):
        return self.models.item_inputs(*inputs)

    def user_vectors(self, *inputs):
        self.calls["user_vectors"] += 1
        return self.models.user_vectors(*inputs)

    def task_probabilities(self, *inputs):
        self.calls["task_probabilities"] += 1
        return self.models.task_probabilities(*inputs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_compiled(tmp_path_factory.mktemp("batches") / "compiled")


@pytest.fixture(scope="module")
def engine(folder):
    return Engine(Recommender.open(folder), "batches", "bundle")


def counted(folder):
    recommender = Recommender.open(folder)
    models = Counted(recommender.models)
    return Engine(dataclasses.replace(recommender, models=models), "batches", "bundle"), models.calls


def ids(asks):
    return [f"request-{position}" for position in range(len(asks))]


EVENTS = st.lists(
    st.fixed_dictionaries({
        "item_id": st.sampled_from(["oat", "snack3", "berries", "no such item"]),
        "event_type": st.sampled_from(["view", "cart", "purchase"]),
        "timestamp": st.integers(AS_OF - 60 * DAY, AS_OF + DAY),
    }), max_size=4,
)  # fmt: skip
REQUESTS = st.fixed_dictionaries(
    {"k": st.integers(1, 45)},
    optional={
        "user_id": st.sampled_from(["ann", "bob", "late", "silent", "nobody"]),
        "query": st.sampled_from(["milk", "oat milk", "燕麦奶", "zzzz", "🥛", ""]),
        "filters": st.sampled_from([
            {}, {"categories": ["MILK"]}, {"price_max": 4.0}, {"available": False}, {"brands": ["none has it"]},
        ]),
        "exclude": st.lists(st.sampled_from(["oat", "snack1", "no such item"]), max_size=2),
        "context": st.just({"timestamp": AS_OF - 20 * DAY}),
        "history": EVENTS,
    },
).map(parse_instance)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.lists(REQUESTS, min_size=1, max_size=8), st.sampled_from([None, ExplorationConfig(share=0.5, pool=5)]))
def test_batch_is_answered_and_explained_like_single_requests(folder, engine, asks, exploration):
    if exploration is not None:
        engine = Engine(Recommender.open(folder), "batches", "bundle", exploration)
    together = engine.answer(asks, ids(asks))
    assert together == [engine.answer([ask], [name])[0] for ask, name in zip(asks, ids(asks), strict=True)]
    explanations = engine.explain(asks, ids(asks))
    assert explanations == [engine.explain([ask], [name])[0] for ask, name in zip(asks, ids(asks), strict=True)]
    assert [[item["item_id"] for item in one["items"]] for one in explanations] == [
        [item.item_id for item in answer.items] for answer in together
    ]


ASKS = [parse_instance(request) for request in (
    {"user_id": "ann"}, {"query": "milk"}, {"user_id": "bob", "filters": {"price_max": 9.0}}, {"exclude": ["oat"]},
)]  # fmt: skip


def test_one_call_of_the_ranker_answers_a_whole_batch(folder):
    engine, calls = counted(folder)
    engine.answer(ASKS, ids(ASKS))
    assert calls == {"user_vectors": len(ASKS), "task_probabilities": 1}


def test_candidates_are_remembered_until_the_history_the_time_or_the_filters_change(folder):
    engine, calls = counted(folder)
    bought = {"item_id": "snack3", "event_type": "purchase", "timestamp": AS_OF - DAY}
    others = [{"filters": {"price_max": 9.0}}, {"exclude": ["oat"]}, {"history": [bought]},
              {"context": {"timestamp": AS_OF - 20 * DAY}}, {"user_id": "bob"}]  # fmt: skip
    for request in ({}, *others):
        ask, before = parse_instance({"user_id": "ann", **request}), calls["user_vectors"]
        first = engine.answer([ask], ["a"])[0]
        assert calls["user_vectors"] == before + 1
        assert engine.answer([ask], ["a"])[0] == first and calls["user_vectors"] == before + 1
    # Filters and times that come in turn replace each other; the history they share is one entry.
    assert engine.answer([parse_instance({"user_id": "ann", "k": 3})], ["a"])[0].items


def test_what_is_remembered_has_a_limit(folder):
    recommender = Recommender.open(folder)
    models = Counted(recommender.models)
    engine = Engine(dataclasses.replace(recommender, models=models), "batches", "bundle", cache_bytes=0)
    for _ in range(2):
        engine.answer([parse_instance({"user_id": "ann"})], ["a"])
    assert models.calls["user_vectors"] == 2


def test_explain_retrieves_and_ranks_once(folder):
    engine, calls = counted(folder)
    engine.explain(ASKS, ids(ASKS))
    # Besides the ranking, each feature group is removed once per answer.
    assert calls == {"user_vectors": len(ASKS), "task_probabilities": 1 + len(ASKS) * len(FEATURE_GROUPS)}


def test_int8_dense_layers_are_called_once_per_request(folder, tmp_path):
    eight_bit = write_compiled(tmp_path / "compiled")
    graph = eight_bit / "ranker" / "ranker.onnx"
    model = onnx.load(graph)
    del model.graph.value_info[:]
    quantize_dynamic(model, graph, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)
    facts = eight_bit / "ranker" / "ranker.json"
    write_json(facts, {**read_json(facts), "dense_precision": "int8"})
    engine, calls = counted(eight_bit)
    together = engine.answer(ASKS, ids(ASKS))
    assert calls["task_probabilities"] == len(ASKS)
    alone = [engine.answer([ask], [name])[0] for ask, name in zip(ASKS, ids(ASKS), strict=True)]
    assert together == alone
    plain, _ = counted(folder)
    scores = [[item.score for item in answer.items] for answer in plain.answer(ASKS, ids(ASKS))]
    assert any(not np.allclose(one, [item.score for item in answer.items], atol=1e-6)
               for one, answer in zip(scores, together, strict=True)), "it is another model"  # fmt: skip
