"""The whole evaluation on real shoppers: a trained model is blessed, a spoiled one refused, a champion met by ids."""

import dataclasses
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Metrics, Model
from safetensors.torch import load_file, save_file

from components.evaluate_model.champion import champion_answers, champion_of, recode
from components.evaluate_model.component import evaluate_model
from components.evaluate_model.evaluate import config_for, evaluate
from components.evaluate_model.lists_file import LISTS
from components.shared.candidates import CandidateConfig
from components.shared.decision import read_decision
from components.shared.feature_spec import FeatureSpec
from components.shared.models.offline import open_offline
from components.shared.neighbours import Neighbours
from components.shared.ranking_metrics import overlap_at_k
from components.shared.recommender import Recommender
from components.shared.rows import Rows
from components.shared.storage import read_json

pytestmark = pytest.mark.slow

CONFIG = config_for("tiny")


@pytest.fixture(scope="module")
def honest(tiny_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("honest")
    decision = evaluate(tiny_run.features, tiny_run.retriever, tiny_run.ranker, out / "ev", out / "ev.html", CONFIG,
                        tiny_run.compiled)  # fmt: skip
    return out, decision


@pytest.fixture(scope="module")
def recommender(tiny_run):
    candidates = CandidateConfig(**read_json(tiny_run.ranker / "candidates.json"))
    return open_offline(tiny_run.features, tiny_run.retriever, tiny_run.ranker, candidates, "test")


def test_a_trained_model_is_blessed_with_reasons(honest):
    out, decision = honest
    assert decision.blessed, decision.reasons
    assert read_decision(out / "ev") == decision
    assert all(reason.endswith(".") for reason in decision.reasons)
    assert {"ndcg_at_10", "recall_at_20", "new_ndcg_at_10", "ranker_auc", "coverage", "gini"} <= set(decision.metrics)


def test_metrics_hold_every_method_interval_and_slice(honest):
    result = read_json(honest[0] / "ev" / "metrics.json")
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
    assert set(result["curves"]) == {"retriever", "ranker"}
    assert result["ranker"]["again"]["pairs"] + result["ranker"]["first"]["pairs"] == result["ranker"]["all"]["pairs"]


def test_lists_hold_what_the_means_are_made_of(honest, tiny_run):
    table = pq.read_table(honest[0] / "ev" / "lists.parquet")
    assert table.schema.equals(LISTS)
    result = read_json(honest[0] / "ev" / "metrics.json")
    frame = table.to_pandas()
    for (scope, method), group in frame.groupby(["scope", "method"]):
        mean = result["scopes"][scope]["methods"][method]["recall_at_20"]["mean"]
        assert group["recall_at_20"].mean() == pytest.approx(mean)
    assert set(frame["user_id"]) <= set(pq.read_table(tiny_run.users)["user_id"].to_pylist())


def test_first_time_lists_hold_nothing_bought_before(honest, recommender, tiny_run):
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    asked = recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)
    ids = recommender.catalog.item_id
    name_of = {row: name for name, row in recommender.user_row.items()}
    bought = {
        name_of[int(shopper)]: set(ids.take(asked.item[asked.row == row]).to_pylist())
        for row, shopper in enumerate(rows.shopper)
    }
    frame = pq.read_table(honest[0] / "ev" / "lists.parquet").to_pandas()
    for user, method, items in frame.loc[frame["scope"] == "first", ["user_id", "method", "items"]].itertuples(False):
        assert not bought[user] & set(items), (user, method)


def test_the_page_is_whole(honest):
    html = (honest[0] / "ev.html").read_text()
    assert html.count("<svg") >= 6
    assert "Blessed" in html and "personal frequency" in html and "has seen what it is asked" in html


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


def test_the_same_model_answers_the_same_as_champion(tiny_run, recommender, honest):
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    asked = recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)
    champion = Recommender.open(tiny_run.compiled)
    recoded = recode(asked, rows.shopper, recommender, champion)
    assert (recoded.item == asked.item).all() and (recoded.user == asked.user).all()
    held = champion_answers(tiny_run.compiled, recommender, rows.shopper, asked, 20)
    assert held.lists is not None and not held.comparable
    # Beside its int8 tables the champion differs by its later item statistics and neighbours only.
    known = {"statistics": np.load(tiny_run.features / "statistics" / "test.npy"),
             "neighbours": Neighbours.open(tiny_run.features / "neighbours" / "test")}  # fmt: skip
    ours = dataclasses.replace(recommender, **known).rank(asked, 10)
    theirs = dataclasses.replace(champion, **known).rank(recoded, 10)
    both = [overlap_at_k(one.item[None], other.item[None])[0] for one, other in zip(ours, theirs, strict=True)]
    assert np.mean(both) > 0.97


def test_a_champion_with_another_catalogue_is_met_by_ids(tiny_run, recommender, tmp_path):
    """Its item rows are ours in reverse order and two of our items are unknown to it."""
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    asked = recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)
    champion = Recommender.open(tiny_run.compiled)
    ids = recommender.catalog.item_id.to_pylist()
    unknown = {ids[asked.item[0]], ids[asked.item[-1]]}
    order = [0, *range(len(ids) - 1, 0, -1)]
    renamed = [f"gone-{ids[row]}" if ids[row] in unknown else ids[row] for row in order]
    other = dataclasses.replace(champion.catalog, item_id=pa.array(renamed, pa.string()))
    stranger = dataclasses.replace(champion, catalog=other, user_row={})
    recoded = recode(asked, rows.shopper, recommender, stranger)
    kept = ~np.isin(np.array(ids, object)[asked.item], list(unknown))
    assert [renamed[row] for row in recoded.item] == [ids[row] for row in asked.item[kept]]
    assert (recoded.user == 0).all()
    assert recoded.offsets[-1] == kept.sum()


def test_an_earlier_champion_decides(tiny_run, tmp_path):
    """As of the test moment it has seen nothing of the window, so the comparison counts."""
    shutil.copytree(tiny_run.compiled, tmp_path / "20171204-aaaa")
    spec = FeatureSpec.read(tmp_path / "20171204-aaaa" / "spec.json")
    moment = read_json(tiny_run.features / "timeline.json")["test"]
    dataclasses.replace(spec, as_of=moment).write(tmp_path / "20171204-aaaa" / "spec.json")
    shutil.copyfile(tiny_run.features / "statistics" / "test.npy", tmp_path / "20171204-aaaa" / "statistics.npy")
    decision = evaluate(tiny_run.features, tiny_run.retriever, tiny_run.ranker, tmp_path / "ev", tmp_path / "e.html",
                        CONFIG, tmp_path / "20171204-aaaa")  # fmt: skip
    check = next(
        check for check in read_json(tmp_path / "ev" / "metrics.json")["checks"] if check["rule"] == "champion"
    )
    assert check["decides"] and "that of champion" in check["sentence"]
    # int8 rows move a probability a little; the same model must stay the same within that.
    assert abs(decision.metrics["ndcg_at_10_over_champion"]) < 0.01


def test_a_champion_of_another_format_is_not_asked_and_does_not_stop_the_run(tiny_run, recommender, tmp_path):
    shutil.copytree(tiny_run.compiled, tmp_path / "old")
    spec = read_json(tmp_path / "old" / "spec.json")
    (tmp_path / "old" / "spec.json").write_text(json.dumps({**spec, "format_version": 0}))
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    asked = recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)
    held = champion_answers(tmp_path / "old", recommender, rows.shopper, asked, 20)
    assert held.lists is None and not held.comparable
    assert "cannot be read by this release" in held.note


def test_no_registry_or_no_champion_is_no_champion(tmp_path):
    assert champion_of("", "shop") is None
    assert champion_of(str(tmp_path / "none"), "shop") is None
    assert champion_of(str(tmp_path), "shop") is None


def test_the_face_logs_metrics_and_returns_the_blessing(tiny_run, tmp_path):
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
