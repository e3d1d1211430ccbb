"""Ranker metrics against scikit-learn, shopper by shopper, and on cases with a known answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from components.evaluate_model.answers import Pool
from components.evaluate_model.ranker_quality import (
    ROC_POINTS,
    Part,
    best_threshold,
    calibration,
    gauc,
    quality,
    roc,
)

pair = st.tuples(st.integers(0, 4), st.integers(0, 6), st.booleans())


def _part(pairs):
    row, probability, label = (np.array(column) for column in zip(*pairs, strict=True))
    return Part(row.astype(np.int64), probability / 6.0, label.astype(bool))


@given(st.lists(pair, min_size=1, max_size=60))
def test_gauc_is_the_mean_of_every_shoppers_auc(pairs):
    part = _part(pairs)
    own = [part.row == shopper for shopper in np.unique(part.row)]
    areas = [roc_auc_score(part.label[at], part.probability[at]) for at in own if len(set(part.label[at])) == 2]
    assert gauc(part) == (pytest.approx(np.mean(areas)) if areas else None)


@given(st.lists(pair, min_size=2, max_size=60))
def test_best_threshold_has_the_highest_f1(pairs):
    part = _part(pairs)
    if part.has_both:
        scores = [f1_score(part.label, part.probability >= at) for at in np.unique(part.probability)]
        assert f1_score(part.label, part.probability >= best_threshold(part)) == pytest.approx(max(scores))


def _random_pool(count=4_000, seed=0):
    random = np.random.default_rng(seed)
    probability = random.beta(1, 12, count).astype(np.float32)
    label = random.random(count) < probability
    return Pool(random.integers(0, 50, count), probability, label, random.random(count) < 0.4)


def test_true_probabilities_are_calibrated_and_doubled_ones_are_not():
    pool = _random_pool(40_000)
    part = Part(pool.row, pool.probability, pool.label)
    found = calibration(part, 10)
    assert found["calibration_error"] < 0.01
    assert found["calibration_ratio"] == pytest.approx(1.0, abs=0.05)
    assert sum(found["pairs"] for found in found["calibration"]) == 40_000
    double = calibration(Part(pool.row, pool.probability * 2, pool.label), 10)
    assert double["calibration_ratio"] == pytest.approx(2.0, abs=0.1)
    assert double["calibration_error"] > 0.05


def test_quality_agrees_with_scikit_learn_and_uses_the_validation_threshold():
    test, validation = _random_pool(seed=1), _random_pool(seed=2)
    found = quality(test, validation, np.repeat([True, False], 400), 10)
    assert found["all"]["auc"] == pytest.approx(roc_auc_score(test.label, test.probability))
    threshold = best_threshold(Part(validation.row, validation.probability.astype(float), validation.label))
    assert found["all"]["threshold"] == pytest.approx(threshold)
    assert found["all"]["f1"] == pytest.approx(f1_score(test.label, test.probability >= threshold))
    (tn, fp), (fn, tp) = found["all"]["confusion"]
    assert tn + fp + fn + tp == found["again"]["pairs"] + found["first"]["pairs"] == 4_000
    assert found["all"]["candidate_recall"] == pytest.approx(test.label.sum() / 800)


def test_roc_is_downsampled_finite_and_keeps_its_ends():
    pool = _random_pool()
    points = roc(Part(pool.row, pool.probability.astype(float), pool.label))
    assert len(points["fpr"]) <= ROC_POINTS
    assert (points["fpr"][0], points["tpr"][0], points["fpr"][-1], points["tpr"][-1]) == (0, 0, 1, 1)
    assert np.isfinite(points["threshold"]).all()


@pytest.mark.parametrize("label", [False, True])
def test_metrics_of_one_class_or_no_pairs_are_none_without_a_warning(label):
    pool = Pool(np.array([0, 1]), np.array([0.1, 0.2], np.float32), np.array([label, label]), np.array([True, True]))
    found = quality(pool, pool, np.array([True]), 10)
    assert found["all"]["auc"] is None and found["all"]["gauc"] is None and found["all"]["roc"] is None
    assert found["first"]["pairs"] == 0 and found["first"]["f1"] is None
