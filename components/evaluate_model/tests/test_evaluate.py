"""The whole evaluation on real shoppers: a trained model is blessed, a spoiled one refused."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Metrics, Model
from safetensors.torch import load_file, save_file

from components.evaluate_model.component import evaluate_model
from components.evaluate_model.config import EvaluationOptions
from components.evaluate_model.evaluate import evaluate
from components.evaluate_model.lists_file import LISTS
from components.shared.evaluation.decision import read_decision
from components.shared.features.rows import Rows
from components.shared.schema.sizes import size_named
from components.shared.storage import read_json

pytestmark = pytest.mark.slow

CONFIG = EvaluationOptions.for_size(size_named("tiny"))


@pytest.fixture(scope="module")
def evaluated(tiny_run, bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("honest")
    decision = evaluate(tiny_run.features, tiny_run.retriever, tiny_run.ranker, out / "ev", out / "ev.html", CONFIG,
                        bundle)  # fmt: skip
    return out, decision


def test_a_trained_model_is_blessed_with_reasons(evaluated):
    out, decision = evaluated
    assert decision.blessed, decision.reasons
    assert read_decision(out / "ev") == decision
    assert all(reason.endswith(".") for reason in decision.reasons)
    assert {"ndcg_at_10", "recall_at_20", "new_ndcg_at_10", "ranker_auc", "coverage", "gini"} <= set(decision.metrics)


def test_metrics_contain_every_method_interval_and_slice(evaluated):
    result = read_json(evaluated[0] / "ev" / "metrics.json")
    for scope in result["scopes"].values():
        assert set(scope["methods"]) == {
            "model", "champion", "popularity", "recent popularity", "personal frequency", "item-kNN"
        }  # fmt: skip
        for method, found in scope["methods"].items():
            assert found["ndcg_at_10"]["low"] <= found["ndcg_at_10"]["mean"] <= found["ndcg_at_10"]["high"]
            if method != "model":
                other, difference = found["ndcg_at_10"]["mean"], scope["differences"][method]["ndcg_at_10"]["mean"]
                assert difference == pytest.approx(scope["methods"]["model"]["ndcg_at_10"]["mean"] - other)
    counts = {part["slice"].split(":")[0]: part["relevant"] for part in result["slices"]}
    assert counts["head items"] + counts["tail items"] == result["split"]["targets"]
    assert counts["bought again"] + counts["bought for the first time"] == result["split"]["targets"]
    assert set(result["curves"]) == {"retriever", "ranker", "ranker, all windows"}
    assert result["ranker"]["again"]["pairs"] + result["ranker"]["first"]["pairs"] == result["ranker"]["all"]["pairs"]


def test_anonymous_list_is_compared_with_the_targets_of_all_shoppers(evaluated, recommender, tiny_run):
    out, decision = evaluated
    found = read_json(out / "ev" / "metrics.json")["anonymous"]
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    overall = pq.read_table(out / "ev" / "lists.parquet").to_pandas()
    for method in ("popularity", "recent popularity"):
        same = overall[(overall.scope == "overall") & (overall.method == method)]
        assert found["ndcg_at_10"][method] == pytest.approx(same.ndcg_at_10.mean()), "their list is the same for all"
    targets = [rows.targets.take(np.array([row])).values for row in range(len(rows))]
    assert 0 <= found["observed"] <= max(np.bincount(np.concatenate(targets))) / len(rows)
    assert found["ndcg_at_10"]["model"] > 0 and 0 < found["predicted"] < 1
    assert decision.metrics["anonymous_ndcg_at_10"] == found["ndcg_at_10"]["model"]
    assert "Anonymous shoppers" in (out / "ev.html").read_text(encoding="utf-8")


def test_means_of_the_lists_equal_the_reported_metrics(evaluated, tiny_run):
    table = pq.read_table(evaluated[0] / "ev" / "lists.parquet")
    assert table.schema.equals(LISTS)
    result = read_json(evaluated[0] / "ev" / "metrics.json")
    frame = table.to_pandas()
    for (scope, method), group in frame.groupby(["scope", "method"]):
        mean = result["scopes"][scope]["methods"][method]["recall_at_20"]["mean"]
        assert group["recall_at_20"].mean() == pytest.approx(mean)
    assert set(frame["user_id"]) <= set(pq.read_table(tiny_run.users)["user_id"].to_pylist())


def test_first_time_lists_exclude_items_bought_before(evaluated, recommender, tiny_run):
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    histories = recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)
    ids = recommender.catalog.item_id
    name_of = {row: name for name, row in recommender.user_row.items()}
    bought = {
        name_of[int(shopper)]: set(ids.take(histories.item[histories.row == row]).to_pylist())
        for row, shopper in enumerate(rows.shopper)
    }
    frame = pq.read_table(evaluated[0] / "ev" / "lists.parquet").to_pandas()
    for user, method, items in frame.loc[frame["scope"] == "first", ["user_id", "method", "items"]].itertuples(False):
        assert not bought[user] & set(items), (user, method)


def test_report_shows_figures_decision_baselines_and_champion_note(evaluated):
    html = (evaluated[0] / "ev.html").read_text()
    assert html.count("<svg") >= 6
    assert "Blessed" in html and "personal frequency" in html and "has seen the test data" in html


@pytest.mark.parametrize("spoil", ["shuffled", "untrained"])
def test_a_spoiled_ranker_is_refused(tiny_run, tmp_path, spoil):
    shutil.copytree(tiny_run.ranker, tmp_path / "ranker")
    weights, random = load_file(tmp_path / "ranker" / "weights.safetensors"), torch.Generator().manual_seed(1)
    for name, tensor in weights.items():
        if "dense_" not in name:
            order = torch.randperm(tensor.numel(), generator=random)
            fresh = torch.randn(tensor.shape, generator=random) * 0.05
            weights[name] = (
                tensor.flatten()[order].reshape(tensor.shape) if spoil == "shuffled" else fresh
            ).contiguous()
    save_file(weights, tmp_path / "ranker" / "weights.safetensors")
    spoiled, out, html = (tmp_path / name for name in ("ranker", "ev", "e.html"))
    decision = evaluate(tiny_run.features, tiny_run.retriever, spoiled, out, html, CONFIG)
    assert not decision.blessed
    assert "Refused" in (tmp_path / "e.html").read_text()


def test_component_logs_metrics_and_returns_the_blessing(tiny_run, tmp_path):
    metrics, classification = Metrics(), ClassificationMetrics()
    evaluation = Artifact(uri=str(tmp_path / "evaluation"))
    blessed = evaluate_model.python_func(
        features=Dataset(uri=str(tiny_run.features)), retriever=Model(uri=str(tiny_run.retriever)),
        ranker=Model(uri=str(tiny_run.ranker)), evaluation=evaluation, report=HTML(uri=str(tmp_path / "report")),
        metrics=metrics, classification=classification, registry=str(tmp_path / "registry"), model_name="shop",
        size="tiny",
    )  # fmt: skip
    assert blessed is read_decision(tmp_path / "evaluation").blessed
    assert metrics.metadata == read_decision(tmp_path / "evaluation").metrics
    assert 2 <= len(classification.metadata["confidenceMetrics"]) <= 200
    assert len(classification.metadata["confusionMatrix"]["rows"]) == 2
    json.dumps(classification.metadata, allow_nan=False)
