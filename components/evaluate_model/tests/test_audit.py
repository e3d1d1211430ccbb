"""The leakage audit passes clean pairs and fails where labels leak."""

import dataclasses

import numpy as np
import pytest

from components.evaluate_model.answers import Pool
from components.evaluate_model.audit import leakage, with_shuffled_labels
from components.evaluate_model.config import Rules
from components.evaluate_model.rules import leakage_checks
from components.shared.features.columns import DenseInput
from components.shared.features.rows import Rows

PREDICTIVE = DenseInput.RECENCY_7, DenseInput.SINCE_OVER_GAP
FOUR = [DenseInput.TIMES, DenseInput.RECENCY_90, DenseInput.ANY_RECENCY_7, DenseInput.POPULARITY_LONG]
ALL_PASSED = {"max_shuffled_errors": True, "max_learned_auc": True, "max_single_input_auc": True}


def pool(seed, pairs=1_500, signal=1.0):
    """Labels that follow from two inputs with noise."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(pairs, len(DenseInput))).astype(np.float32)
    label = random.random(pairs) < 1 / (1 + np.exp(2 - signal * inputs[:, list(PREDICTIVE)].sum(1)))
    return Pool(
        row=random.integers(0, 50, pairs), probability=random.random(pairs).astype(np.float32), label=label,
        again=np.zeros(pairs, bool), sampled=np.arange(pairs), inputs=inputs,
    )  # fmt: skip


def shuffled(seed):
    return pool(seed, signal=0.0), pool(seed + 100, signal=0.0)


def with_leak(clean, noise, columns):
    """The pairs with some inputs replaced by the label plus noise."""
    random, inputs = np.random.default_rng(7), clean.inputs.copy()
    inputs[:, columns] = clean.label[:, None] + noise * random.normal(size=(len(clean.label), len(columns)))
    return dataclasses.replace(clean, inputs=inputs)


def verdicts(found):
    return {check.rule: check.passed for check in leakage_checks(found, Rules())}


def test_clean_pairs_pass_and_their_signal_is_measured():
    for seed in range(5):
        found = leakage(pool(seed), pool(seed + 100), shuffled(seed + 1_000))
        assert verdicts(found) == ALL_PASSED
        assert found["learned"] > 0.65 and found["strongest"] in {column.label for column in PREDICTIVE}
        assert abs(found["shuffled"] - 0.5) < 0.06 and found["shuffled_shoppers"] > 45


def test_input_that_contains_the_label_is_named():
    test = pool(101)
    test.inputs[:, DenseInput.RECENCY_90] = -test.label.astype(np.float32)
    found = leakage(pool(1), test, shuffled(1))
    assert found["strongest"] == "recency_90" and found["strongest_auc"] == 1.0
    assert verdicts(found)["max_single_input_auc"] is False


def test_inputs_that_leak_the_label_jointly_fail_the_learned_audit():
    for seed in range(4):
        learn, test = (with_leak(pool(at), 0.5, FOUR) for at in (seed, seed + 100))
        found = leakage(learn, test, shuffled(seed))
        assert verdicts(found) == {**ALL_PASSED, "max_learned_auc": False} and found["strongest_auc"] < 0.95


def test_inputs_that_predict_shuffled_labels_fail_the_shuffled_audit():
    """Inputs that predict even shuffled labels come from how the pairs are made, not from the past."""
    for seed in range(4):
        leaking = tuple(with_leak(pairs, 1.0, [DenseInput.DAYS_BOUGHT]) for pairs in shuffled(seed))
        assert verdicts(leakage(pool(seed), pool(seed + 100), leaking)) == {**ALL_PASSED, "max_shuffled_errors": False}


def test_labels_of_one_class_are_not_audited():
    clean = pool(1)
    assert leakage(dataclasses.replace(clean, label=np.zeros(1_500, bool)), clean, shuffled(1)) is None
    assert list(leakage_checks(None, Rules())) == []


@pytest.mark.slow
def test_labels_are_shuffled_among_each_shoppers_candidates(recommender, tiny_run):
    rows = Rows.read(tiny_run.features / "rows" / "test.parquet", recommender.spec)
    first, second = (with_shuffled_labels(recommender, rows, seed) for seed in (1, 2))
    assert np.array_equal(first.row, second.row) and np.array_equal(first.probability, second.probability)
    assert not np.array_equal(first.label, second.label), "another seed, other labels"
    wanted = np.bincount(first.row, first.label, len(rows))
    assert wanted.tolist() == np.minimum(rows.targets.lengths, np.bincount(first.row, minlength=len(rows))).tolist()


@pytest.mark.slow
def test_the_real_inputs_do_not_leak(tiny_run):
    from components.evaluate_model.evaluate import METRICS
    from components.shared.storage import read_json

    found = read_json(tiny_run.evaluation / METRICS)["leakage"]
    assert verdicts(found) == ALL_PASSED and found["learned"] > 0.6 and found["shuffled_shoppers"] > 20
