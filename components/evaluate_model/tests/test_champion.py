"""The champion on the same shoppers: met by ids, deciding when it may, and never run when nobody answers for it."""

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
def asked(tiny_run, recommender):
    """(shoppers, their histories)."""
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    return rows.shopper, recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)


def test_nothing_of_a_champion_runs_unless_the_key_signed_exactly_it(bundle, recommender, asked, sealed, tmp_path):
    shutil.copytree(bundle, tmp_path / "changed")
    ranker = tmp_path / "changed" / "ranker" / "ranker.onnx"
    ranker.write_bytes(ranker.read_bytes() + b" ")
    other_key = sealed(shutil.copytree(bundle, tmp_path / "strange"), tmp_path / "other.pem")
    ours = str(bundle.parent / "key.pem.pub")
    for folder, key, why in (
        (tmp_path / "changed", "", "bytes, not"), (tmp_path / "strange", ours, "another key"),
        (bundle, other_key, "another key"), (bundle, str(tmp_path / "none.pub"), "cannot read the public key"),
    ):  # fmt: skip
        held = champion_answers(folder, recommender, *asked, 20, key)
        assert held.lists is None and not held.comparable and why in held.note, held.note
    assert champion_answers(bundle, recommender, *asked, 20, ours).lists is not None


def test_native_code_of_a_champion_is_not_run_without_a_key(bundle, recommender, asked, sealed, tmp_path):
    native = shutil.copytree(bundle, tmp_path / "native")
    RuntimeRecord(name="aotinductor", torch="0.0.0", machine="none").write(native)
    key = sealed(native, tmp_path / "key.pem")
    assert "contains native code, and there is no public_key" in champion_answers(native, recommender, *asked, 20).note
    # With its key it is opened, and refused for what it was built for.
    assert "0.0.0" in champion_answers(native, recommender, *asked, 20, key).note


def test_the_same_model_answers_the_same_as_champion(tiny_run, recommender, bundle):
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    asked = recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)
    champion = Recommender.open(tiny_run.compiled)
    recoded = recode(asked, rows.shopper, recommender, champion)
    assert (recoded.item == asked.item).all() and (recoded.user == asked.user).all()
    held = champion_answers(bundle, recommender, rows.shopper, asked, 20)
    assert held.lists is not None and not held.comparable
    # Beside its int8 tables the champion differs by its later item statistics and neighbours only.
    known = {"statistics": np.load(tiny_run.features / "statistics" / "test.npy"),
             "neighbours": Neighbours.open(tiny_run.features / "neighbours" / "test")}  # fmt: skip
    ours = dataclasses.replace(recommender, **known).rank(asked, 10)
    theirs = dataclasses.replace(champion, **known).rank(recoded, 10)
    both = [overlap_at_k(one.item[None], other.item[None])[0] for one, other in zip(ours, theirs, strict=True)]
    assert np.mean(both) > 0.97


def test_a_champion_with_another_catalog_is_met_by_ids(tiny_run, recommender, tmp_path):
    """Its item rows are ours in reverse order and two of our items are unknown to it."""
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    asked = recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)
    champion = Recommender.open(tiny_run.compiled)
    ids = recommender.catalog.item_id.to_pylist()
    unknown = {ids[asked.item[0]], ids[asked.item[-1]]}
    order = [0, *range(len(ids) - 1, 0, -1)]
    renamed = [f"gone-{ids[row]}" if ids[row] in unknown else ids[row] for row in order]
    other = dataclasses.replace(champion.catalog, item_id=pa.array(renamed, pa.string()))
    renumbered = dataclasses.replace(champion, catalog=other, user_row={})
    recoded = recode(asked, rows.shopper, recommender, renumbered)
    kept = ~np.isin(np.array(ids, object)[asked.item], list(unknown))
    assert [renamed[row] for row in recoded.item] == [ids[row] for row in asked.item[kept]]
    assert (recoded.user == 0).all()
    assert recoded.offsets[-1] == kept.sum()


def test_an_earlier_champion_decides(tiny_run, sealed, tmp_path):
    """As of the test moment it has seen nothing of the window, so the comparison counts."""
    shutil.copytree(tiny_run.compiled, tmp_path / "20171204-aaaa")
    spec = FeatureSpec.read(tmp_path / "20171204-aaaa" / "spec.json")
    moment = read_json(tiny_run.features / "timeline.json")["test"]
    dataclasses.replace(spec, as_of=moment).write(tmp_path / "20171204-aaaa" / "spec.json")
    shutil.copyfile(tiny_run.features / "statistics" / "test.npy", tmp_path / "20171204-aaaa" / "statistics.npy")
    key = sealed(tmp_path / "20171204-aaaa", tmp_path / "key.pem")
    decision = evaluate(tiny_run.features, tiny_run.retriever, tiny_run.ranker, tmp_path / "ev", tmp_path / "e.html",
                        CONFIG, tmp_path / "20171204-aaaa", key)  # fmt: skip
    check = next(
        check for check in read_json(tmp_path / "ev" / "metrics.json")["checks"] if check["rule"] == "champion"
    )
    assert check["decides"] and "that of champion" in check["sentence"]
    # int8 rows move a probability a little; the same model must stay the same within that.
    assert abs(decision.metrics["ndcg_at_10_over_champion"]) < 0.01


def test_a_champion_of_another_format_is_not_asked_and_does_not_stop_the_run(tiny_run, recommender, sealed, tmp_path):
    shutil.copytree(tiny_run.compiled, tmp_path / "old")
    spec = read_json(tmp_path / "old" / "spec.json")
    (tmp_path / "old" / "spec.json").write_text(json.dumps({**spec, "format_version": 0}))
    sealed(tmp_path / "old", tmp_path / "key.pem")
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    asked = recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)
    held = champion_answers(tmp_path / "old", recommender, rows.shopper, asked, 20)
    assert held.lists is None and not held.comparable
    assert "cannot be opened" in held.note and "format" in held.note


def test_no_registry_or_no_champion_is_no_champion(tmp_path):
    assert champion_of("", "shop") is None
    assert champion_of(str(tmp_path / "none"), "shop") is None
    assert champion_of(str(tmp_path), "shop") is None
