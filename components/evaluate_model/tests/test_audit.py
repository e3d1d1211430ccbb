"""The audit is quiet on clean pairs and loud where labels leak."""

import dataclasses

import numpy as np
import pytest

from components.evaluate_model.answers import Pool
from components.evaluate_model.audit import leakage
from components.evaluate_model.rules import Rules, leakage_checks
from components.shared.pairs import DENSE_NAMES


def pool(seed, pairs=1_500):
    """Labels that follow from two inputs with noise."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(pairs, len(DENSE_NAMES))).astype(np.float32)
    label = random.random(pairs) < 1 / (1 + np.exp(2 - inputs[:, 3] - inputs[:, 7]))
    return Pool(
        row=random.integers(0, 50, pairs), probability=random.random(pairs).astype(np.float32), label=label,
        again=np.zeros(pairs, bool), sampled=np.arange(pairs), inputs=inputs,
    )  # fmt: skip


def verdicts(found):
    return {check.rule: check.passed for check in leakage_checks(found, Rules())}


def test_clean_pairs_pass_and_their_signal_is_seen():
    for seed in range(5):
        found = leakage(pool(seed), pool(seed + 100))
        assert verdicts(found) == {"max_shuffled_errors": True, "max_single_input_auc": True}
        assert found["learned"] > 0.65 and found["strongest"] in (DENSE_NAMES[3], DENSE_NAMES[7])
        assert abs(found["shuffled"] - 0.5) < 0.06


def test_an_input_that_holds_the_label_is_named():
    test = pool(101)
    test.inputs[:, 5] = -test.label.astype(np.float32)
    found = leakage(pool(1), test)
    assert found["strongest"] == DENSE_NAMES[5] and found["strongest_auc"] == 1.0
    assert verdicts(found)["max_single_input_auc"] is False


def test_measuring_that_knows_the_answer_is_not_at_chance():
    """The measured pairs' inputs are sorted out by their label, as a bug in the measuring would do."""
    learn, test = pool(1), pool(101)
    shift = np.where(test.label, 1.0, -1.0)[:, None] * np.sign(np.random.default_rng(0).normal(size=len(DENSE_NAMES)))
    inputs = (test.inputs * 0.01 + shift).astype(np.float32)
    found = leakage(learn, dataclasses.replace(test, inputs=inputs))
    assert found["strongest_auc"] == 1.0 and not all(verdicts(found).values())


def test_one_class_alone_is_not_judged():
    clean = pool(1)
    assert leakage(dataclasses.replace(clean, label=np.zeros(1_500, bool)), clean) is None
    assert list(leakage_checks(None, Rules())) == []


@pytest.mark.slow
def test_the_real_inputs_do_not_leak(tiny_run):
    from components.evaluate_model.evaluate import METRICS
    from components.shared.storage import read_json

    found = read_json(tiny_run.evaluation / METRICS)["leakage"]
    assert verdicts(found) == {"max_shuffled_errors": True, "max_single_input_auc": True}
    assert found["learned"] > 0.6
