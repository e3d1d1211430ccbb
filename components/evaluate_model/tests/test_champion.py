"""The champion on the same shoppers: matched by ids, decisive if comparable, and run only if its signature is valid."""

import dataclasses
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from components.evaluate_model.champion import champion_answers, champion_of, recode
from components.evaluate_model.config import EvaluationOptions
from components.evaluate_model.evaluate import evaluate
from components.shared.evaluation.ranking_metrics import overlap_at_k
from components.shared.features.rows import Rows
from components.shared.features.spec import FeatureSpec
from components.shared.recommender.neighbours import Neighbours
from components.shared.recommender.recommender import Recommender
from components.shared.recommender.runtime import RuntimeRecord
from components.shared.schema.sizes import size_named
from components.shared.storage import read_json

pytestmark = pytest.mark.slow

CONFIG = EvaluationOptions.for_size(size_named("tiny"))


@pytest.fixture(scope="module")
def shoppers(tiny_run, recommender):
    """(shoppers, their histories)."""
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    return rows.shopper, recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)


def test_champion_with_changed_files_or_another_key_is_not_run(bundle, recommender, shoppers, sign_bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "changed")
    ranker = tmp_path / "changed" / "ranker" / "ranker.onnx"
    ranker.write_bytes(ranker.read_bytes() + b" ")
    other_key = sign_bundle(shutil.copytree(bundle, tmp_path / "strange"), tmp_path / "other.pem")
    ours = str(bundle.parent / "key.pem.pub")
    for folder, key, why in (
        (tmp_path / "changed", "", "bytes, not"), (tmp_path / "strange", ours, "another key"),
        (bundle, other_key, "another key"), (bundle, str(tmp_path / "none.pub"), "cannot read the public key"),
    ):  # fmt: skip
        answers = champion_answers(folder, recommender, *shoppers, 20, key)
        assert answers.lists is None and not answers.comparable and why in answers.note, answers.note
    assert champion_answers(bundle, recommender, *shoppers, 20, ours).lists is not None


def test_native_code_of_a_champion_is_not_run_without_a_key(bundle, recommender, shoppers, sign_bundle, tmp_path):
    native = shutil.copytree(bundle, tmp_path / "native")
    RuntimeRecord(name="aotinductor", torch="0.0.0", machine="none").write(native)
    key = sign_bundle(native, tmp_path / "key.pem")
    assert (
        "contains native code, and there is no public_key" in champion_answers(native, recommender, *shoppers, 20).note
    )
    # With its key it is opened, and refused because it was built for another torch.
    assert "0.0.0" in champion_answers(native, recommender, *shoppers, 20, key).note


def test_same_model_as_champion_gives_nearly_the_same_lists(tiny_run, recommender, bundle):
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    histories = recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)
    champion = Recommender.open(tiny_run.compiled)
    recoded = recode(histories, rows.shopper, recommender, champion)
    assert (recoded.item == histories.item).all() and (recoded.user == histories.user).all()
    answers = champion_answers(bundle, recommender, rows.shopper, histories, 20)
    assert answers.lists is not None and not answers.comparable
    # Apart from its int8 tables, the champion differs only in its later item statistics and neighbours.
    known = {"statistics": np.load(tiny_run.features / "statistics" / "test.npy"),
             "neighbours": Neighbours.open(tiny_run.features / "neighbours" / "test")}  # fmt: skip
    ours = dataclasses.replace(recommender, **known).rank(histories, 10)
    theirs = dataclasses.replace(champion, **known).rank(recoded, 10)
    both = [overlap_at_k(one.item[None], other.item[None])[0] for one, other in zip(ours, theirs, strict=True)]
    assert np.mean(both) > 0.97


def test_champion_with_another_catalog_is_matched_by_ids(tiny_run, recommender, tmp_path):
    """Its item rows are ours in reverse order and two of our items are unknown to it."""
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    histories = recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)
    champion = Recommender.open(tiny_run.compiled)
    ids = recommender.catalog.item_id.to_pylist()
    unknown = {ids[histories.item[0]], ids[histories.item[-1]]}
    order = [0, *range(len(ids) - 1, 0, -1)]
    renamed = [f"gone-{ids[row]}" if ids[row] in unknown else ids[row] for row in order]
    other = dataclasses.replace(champion.catalog, item_id=pa.array(renamed, pa.string()))
    renumbered = dataclasses.replace(champion, catalog=other, user_row={})
    recoded = recode(histories, rows.shopper, recommender, renumbered)
    kept = ~np.isin(np.array(ids, object)[histories.item], list(unknown))
    assert [renamed[row] for row in recoded.item] == [ids[row] for row in histories.item[kept]]
    assert (recoded.user == 0).all()
    assert recoded.offsets[-1] == kept.sum()


def test_champion_older_than_the_test_window_decides(tiny_run, sign_bundle, tmp_path):
    """As of the test time it has seen nothing of the window, so the comparison decides."""
    shutil.copytree(tiny_run.compiled, tmp_path / "20171204-aaaa")
    spec = FeatureSpec.read(tmp_path / "20171204-aaaa" / "spec.json")
    test_time = read_json(tiny_run.features / "timeline.json")["test"]
    dataclasses.replace(spec, as_of=test_time).write(tmp_path / "20171204-aaaa" / "spec.json")
    shutil.copyfile(tiny_run.features / "statistics" / "test.npy", tmp_path / "20171204-aaaa" / "statistics.npy")
    key = sign_bundle(tmp_path / "20171204-aaaa", tmp_path / "key.pem")
    decision = evaluate(tiny_run.features, tiny_run.retriever, tiny_run.ranker, tmp_path / "ev", tmp_path / "e.html",
                        CONFIG, tmp_path / "20171204-aaaa", key)  # fmt: skip
    check = next(
        check for check in read_json(tmp_path / "ev" / "metrics.json")["checks"] if check["rule"] == "champion"
    )
    assert check["decides"] and "that of champion" in check["sentence"]
    # int8 rows move a probability a little; the same model must stay the same within that.
    assert abs(decision.metrics["ndcg_at_10_over_champion"]) < 0.01


def test_champion_of_another_format_is_skipped_with_a_note(tiny_run, recommender, sign_bundle, tmp_path):
    shutil.copytree(tiny_run.compiled, tmp_path / "old")
    spec = read_json(tmp_path / "old" / "spec.json")
    (tmp_path / "old" / "spec.json").write_text(json.dumps({**spec, "format_version": 0}))
    sign_bundle(tmp_path / "old", tmp_path / "key.pem")
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    histories = recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)
    answers = champion_answers(tmp_path / "old", recommender, rows.shopper, histories, 20)
    assert answers.lists is None and not answers.comparable
    assert "cannot be opened" in answers.note and "format" in answers.note


def test_champion_is_none_without_a_registry_or_an_alias(tmp_path):
    assert champion_of("", "shop") is None
    assert champion_of(str(tmp_path / "none"), "shop") is None
    assert champion_of(str(tmp_path), "shop") is None
