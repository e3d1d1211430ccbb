"""The benchmark on generated data sets of each layout: reading, exclusion, training and results."""

import dataclasses
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.errors import InputError, SchemaError
from components.shared.features.ragged import Ragged
from components.shared.models.encoders.config import AttentionConfig, GruConfig, PooledConfig
from components.shared.tests.ragged_lists import ragged, rows_of
from components.train_retriever.losses.config import FullSoftmax, InBatch, SampledSoftmax
from tests.benchmarks.published.__main__ import main
from tests.benchmarks.published.candidates import ablations
from tests.benchmarks.published.fitting import Blend, BlendScorer, Workshop
from tests.benchmarks.published.graph_filter import GraphFilterConfig
from tests.benchmarks.published.judging import judge, thinned, top_lists
from tests.benchmarks.published.layouts import Problem, read_layout
from tests.benchmarks.published.optimizers import Adam
from tests.benchmarks.published.published import published
from tests.benchmarks.published.results import Ablation, run, table
from tests.benchmarks.published.training import Recipe, batches, by_recency, examples, newest, train

ITEMS, USERS, LENGTH = 30, 60, 8


def ring(users: int = USERS, length: int = LENGTH) -> np.ndarray:
    """Histories of users who walk around a ring of items: 8 follows 7."""
    random = np.random.default_rng(0)
    return (random.integers(0, ITEMS, (users, 1)) + np.arange(length)) % ITEMS


@pytest.fixture
def leave_one_out(tmp_path) -> Path:
    """Items are called 100, 110, 120 ...; rows are shuffled, as a file may be."""
    walks = ring() * 10 + 100
    split = ["train"] * (LENGTH - 2) + ["valid", "test"]
    order = np.random.default_rng(1).permutation(walks.size)
    columns = {
        "user_id": np.repeat(np.arange(USERS) + 5, LENGTH), "item_id": walks.ravel(),
        "position": np.tile(np.arange(LENGTH, dtype=np.int16), USERS), "split": np.array(split * USERS),
    }  # fmt: skip
    pq.write_table(
        pa.table({name: values[order] for name, values in columns.items()}), tmp_path / "interactions.parquet"
    )
    described = pa.table(
        {"item_id": [110, 100, 990], "attribute_ids": pa.array([[7, 9], [7], []], pa.list_(pa.int32()))}
    )
    pq.write_table(described, tmp_path / "item_attributes.parquet")
    return tmp_path


@pytest.fixture
def sessions(tmp_path) -> Path:
    walks = ring()
    pq.write_table(
        pa.table({"session_idx": range(USERS), "items": walks.tolist()}), tmp_path / "train_sessions.parquet"
    )
    test_rows = pa.table({"prefix": [[3, 4], [9]], "target": pa.array([5, 41], pa.int32())})
    pq.write_table(test_rows, tmp_path / "test.parquet")
    return tmp_path


@pytest.fixture
def sets(tmp_path) -> Path:
    walks = ring(length=12)
    users = np.repeat(np.arange(USERS), 10)
    pq.write_table(pa.table({"user_id": users, "item_id": walks[:, :10].ravel()}), tmp_path / "train.parquet")
    held_out = pa.table({"user_id": np.repeat(np.arange(USERS - 1), 2), "item_id": walks[:-1, 10:].ravel()})
    pq.write_table(held_out, tmp_path / "test.parquet")
    return tmp_path


def small(**changes) -> Recipe:
    recipe = Recipe(
        name="small", encoder=AttentionConfig(max_length=5, dropout=0.0, hidden_dim=32),
        loss=FullSoftmax(bfloat16=False), optimizer=Adam(lr=0.01), dim=16, batch_tokens=128, epochs=25, patience=25,
    )  # fmt: skip
    return dataclasses.replace(recipe, **changes)


def test_leave_one_out_is_read_in_order_with_its_attributes(leave_one_out):
    layout = read_layout(leave_one_out)
    walks = ring() + 1
    assert (layout.kind, layout.items, layout.counts) == (
        "leave_one_out",
        ITEMS + 2,
        (USERS * LENGTH, USERS, ITEMS + 1),
    )
    assert rows_of(layout.test.train) == walks[:, :-2].tolist()
    assert rows_of(layout.test.queries) == walks[:, :-1].tolist()
    assert layout.validation.relevant.values.tolist() == walks[:, -2].tolist()
    assert layout.test.relevant.values.tolist() == walks[:, -1].tolist()
    bags = rows_of(layout.features.bags["attributes"])
    assert bags[:4] == [[], [1], [1, 2], []] and bags[-1] == [] and layout.bags == (("attributes", 3),)


def test_sessions_keep_repeats_and_hold_out_the_newest(sessions):
    layout = read_layout(sessions)
    assert (layout.kind, layout.counts[1:]) == ("sessions", (2, ITEMS + 1))
    assert rows_of(layout.test.queries) == [[4, 5], [10]] and layout.test.relevant.values.tolist() == [6, 31]
    kept = len(layout.validation.train)
    assert 0 < USERS - kept <= USERS // 10
    last = (ring() + 1)[kept:]
    assert rows_of(layout.validation.queries)[: LENGTH - 1] == [last[0, :at].tolist() for at in range(1, LENGTH)]
    assert layout.validation.relevant.values.tolist() == last[:, 1:].ravel().tolist()
    assert len(layout.test.train) == USERS and not layout.exclude_seen


def test_sets_hold_out_a_tenth_of_every_user(sets):
    layout = read_layout(sets)
    hidden, kept = rows_of(layout.validation.relevant), rows_of(layout.validation.queries)
    whole = rows_of(layout.test.train)
    assert [len(row) for row in hidden] == [1] * USERS
    assert all(sorted(a + b) == sorted(c) for a, b, c in zip(hidden, kept, whole, strict=True))
    assert len(layout.test.queries) == USERS - 1 and layout.exclude_seen


def test_files_of_unknown_layouts_are_refused(tmp_path):
    pq.write_table(pa.table({"user_id": [1], "item_id": [2]}), tmp_path / "train.parquet")
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SchemaError, match="none of the known layouts"):
            read_layout(folder)


histories = st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(histories, st.integers(1, 4))
def test_windows_contain_every_step_once(rows, limit):
    cut = rows_of(examples(ragged(rows), limit))
    steps = [pair for row in rows for pair in itertools.pairwise(row)]
    assert [pair for row in cut for pair in itertools.pairwise(row)] == steps
    assert all(2 <= len(row) <= limit + 1 for row in cut)
    assert rows_of(newest(ragged(rows), limit)) == [row[-limit:] for row in rows]


def test_newer_histories_get_higher_weights():
    weighed = by_recency(ragged([[1, 2], [3], [4, 5]]), 0.25)
    assert weighed.weights.tolist() == pytest.approx([0.25, 0.25, 0.5, 1, 1])
    assert examples(weighed, 3).weights.tolist() == pytest.approx([0.25, 0.25, 1, 1])


@settings(max_examples=40, deadline=None)
@given(histories, st.integers(1, 30), st.integers(0, 9))
def test_batches_contain_every_row_once(rows, tokens, seed):
    cut = examples(ragged(rows), 4)
    found = list(batches(cut, tokens, np.random.default_rng(seed)))
    assert sorted(row for part in found for row in part.tolist()) == list(range(len(cut)))
    assert all(cut.lengths[part].sum() - len(part) < tokens + 4 for part in found)


def test_items_of_the_query_are_excluded_only_with_exclude_seen():
    scores = torch.tensor([[9.0, 3.0, 2.0, 1.0]])
    queries = ragged([[1]])
    assert top_lists(lambda _: scores.clone(), queries, 2, exclude_seen=True).tolist() == [[2, 3]]
    assert top_lists(lambda _: scores.clone(), queries, 2, exclude_seen=False).tolist() == [[1, 2]]
    assert top_lists(lambda _: scores.clone(), queries, 4, exclude_seen=True).tolist() == [[2, 3, 0, 0]]


def test_thinned_problem_keeps_queries_with_their_relevant_items():
    problem = Problem(
        train=ragged([[1]]), queries=ragged([[n] for n in range(10)]), relevant=ragged([[n, n] for n in range(10)])
    )
    few = thinned(problem, 4)
    assert rows_of(few.queries) == [[0], [3], [6], [9]] and rows_of(few.relevant) == [[n, n] for n in (0, 3, 6, 9)]
    assert len(thinned(problem, 10).queries) == len(thinned(problem, 99).queries) == 10


def test_recipe_learns_the_ring_reproducibly(leave_one_out, tmp_path):
    layout = read_layout(leave_one_out)
    workshop = Workshop(layout, tmp_path / "out")
    scorer, memory = workshop.validated(small(), 0)
    assert judge(scorer, layout, layout.test)["HR@10"] > 0.9
    assert judge(scorer, layout, layout.validation)["NDCG@10"] > 0.8
    again = train(small(epochs=2), layout, layout.validation.train, 0, lambda model: 0.0).curve
    once = train(small(epochs=2), layout, layout.validation.train, 0, lambda model: 0.0).curve
    assert [point["loss"] for point in again] == [point["loss"] for point in once]
    kept, _ = Workshop(layout, tmp_path / "out").validated(small(), 0)
    assert torch.equal(kept(layout.test.queries), scorer(layout.test.queries)) and len(memory["rates"]) >= 1


def test_model_is_chosen_by_validation_and_tested_with_every_seed(sets, tmp_path):
    layout = read_layout(sets)
    pooled = small(
        name="pooled",
        encoder=PooledConfig(dropout=0.0),
        loss=SampledSoftmax(sources=(InBatch(),), bfloat16=False),
        epochs=8,
    )
    plain = GraphFilterConfig(name="filter", low_pass=0.0)
    second = dataclasses.replace(pooled, name="GRU", encoder=GruConfig(dropout=0.0))
    filters = plain, dataclasses.replace(plain, user_power=0.3)
    both = Blend(name="both", recipes=(pooled, second), filters=filters, weights=(0.5, 2.0))
    workshop = Workshop(layout, tmp_path / "out")
    result = run(workshop, (plain, pooled, both), (0, 1))
    assert result.ablation == {}
    best = max(result.tried, key=lambda name: np.prod(list(result.tried[name].values())))
    assert result.chosen.name == best and set(result.tried) == {"filter", "pooled", "both"}
    assert [len(values) for values in result.test.values()] == [2, 2]
    assert min(result.test["recall@20"]) > 0.9
    text = table(result)
    assert f"**shoprank**: {best} (2 seeds)" in text and "LightGCN" not in text
    assert json.loads(json.dumps(result.to_json()))["mean"]["NDCG@20"] > 0.5


def test_blend_weighs_its_sequence_models_equally():
    logits = torch.tensor([[-9.0, 1.0, 2.0, 0.5], [-9.0, 0.0, 0.3, 3.0]])
    share = torch.tensor([[0.0, 0.5, 0.25, 0.25], [0.0, 0.0, 1.0, 0.0]])
    history = Ragged.ones(np.array([1, 2]))

    def scores(*models: torch.Tensor) -> torch.Tensor:
        scorers = [lambda queries, model=model: model.clone() for model in models]
        return BlendScorer(scorers, lambda queries: 4 * share, 0.5)(history)

    expected = torch.log_softmax(logits, 1) + 0.5 * (share + 0.25).log()
    assert torch.allclose(scores(logits), expected) and torch.allclose(scores(logits, logits + 3), expected)
    assert torch.allclose(scores(logits, -logits), (scores(logits) + scores(-logits)) / 2)


def test_averaged_weights_are_evaluated_and_variants_change_one_field(leave_one_out, tmp_path):
    layout = read_layout(leave_one_out)
    averaged = small(name="averaged", averaging=0.9, epochs=12)
    workshop = Workshop(layout, tmp_path / "out")
    result = run(workshop, (averaged,), (0,), ablate=Ablation(wanted=["ids only", "GRU"]))
    names = ["averaged", "averaged, but ids only", "averaged, but GRU"]
    assert list(result.ablation) == names and "variant, on the test" in table(result)
    assert result.ablation["averaged"]["HR@10"] == result.test["HR@10"][0] > 0.8
    assert len({tuple(values.values()) for values in result.ablation.values()}) == 3
    from_pooled = run(workshop, (averaged,), (0,), ablate=Ablation(wanted=["ids only"], base="pooled"))
    assert list(from_pooled.ablation) == ["averaged, but pooled", "averaged, but pooled, but ids only"]
    every = ablations(averaged, [])
    assert all(
        sum(getattr(variant, name.name) != getattr(averaged, name.name) for name in dataclasses.fields(Recipe)) == 2
        for variant in every
    ), "the name and one more"
    assert len(every) == 11
    with pytest.raises(InputError, match="--ablate 'magic'"):
        ablations(averaged, ["magic"])


def test_published_rows_belong_to_one_split_only():
    assert [row.method for row in published((198_502, 22_363, 12_101))][-1] == "ICLRec"
    assert published((198_502, 22_363, 12_102)) == ()


def test_command_writes_table_and_json(sets, tmp_path):
    out = tmp_path / "out"
    name = "graph filter: 0 factors x 0.0, sharpening 0.0, powers 0.5 and 0.5"
    arguments = ["--data", str(sets), "--seeds", "3", "4", "--out", str(out), "--only", name]
    result = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.published", *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    (written,) = out.glob("sets-*/table.md")
    assert written.read_text() in result.stdout and "--seeds 3 4" in written.read_text()
    assert json.loads(written.with_name("benchmark.json").read_text())["seeds"] == [3, 4]
    with pytest.raises(InputError, match="--only 'magic'"):
        main([*arguments[:-1], "magic"])
