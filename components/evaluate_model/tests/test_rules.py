"""Every rule passes and refuses, with reasons in whole sentences that contain the numbers."""

import copy

import pytest

from components.evaluate_model.config import Rules
from components.evaluate_model.rules import apply_rules

BASELINES = ("popularity", "recent popularity", "personal frequency", "item-kNN")


def _estimate(mean, half):
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _result(champion=None):
    names = [*BASELINES, *(["champion"] if champion else [])]
    methods = {name: {"ndcg_at_10": _estimate(0.30, 0.02)} for name in names}
    methods["model"] = {"ndcg_at_10": _estimate(0.35, 0.02), "coverage": {"mean": 0.2, "low": None, "high": None}}
    differences = {name: {"ndcg_at_10": _estimate(0.05, 0.02)} for name in names}
    return {
        "split": {"items": 1_000},
        "trained": {"rows": 5_000, "items": 800},
        "scopes": {"overall": {"shoppers": 200, "methods": methods, "differences": differences}},
        "ranker": {"all": {"auc": 0.8, "calibration_error": 0.01, "calibration_ratio": 1.1}},
        "champion": champion,
        "leakage": {
            "shuffled": 0.51,
            "shuffled_error": 0.01,
            "learned": 0.8,
            "strongest": "times",
            "strongest_auc": 0.9,
        },
    }


def _change(result, path, value):
    changed = copy.deepcopy(result)
    *parents, last = path
    position = changed
    for name in parents:
        position = position[name]
    position[last] = value
    return changed


def _broken(result, rules=None):
    return [check for check in apply_rules(result, rules or Rules()) if not check.passed]


def test_a_good_model_passes_and_every_reason_is_a_sentence():
    checks = apply_rules(_result(), Rules())
    assert all(check.passed for check in checks)
    assert all(check.sentence[0].isupper() and check.sentence.endswith(".") for check in checks)
    assert "NDCG@10 0.3500 is above that of personal frequency, 0.3000 (difference +0.0500" in " ".join(
        check.sentence for check in checks
    )


DIFFERENCE = ("scopes", "overall", "differences", "personal frequency", "ndcg_at_10")


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        (("scopes", "overall", "shoppers"), 3, "min_shoppers"),
        (("trained", "rows"), 1, "min_training_rows"),
        (("trained", "items"), 0, "min_trained_items"),
        (DIFFERENCE, _estimate(-0.02, 0.01), "beat"),
        (DIFFERENCE, _estimate(-0.06, 0.10), "beat"),
        (("ranker", "all", "auc"), 0.55, "min_auc"),
        (("ranker", "all", "auc"), None, "min_auc"),
        (("ranker", "all", "calibration_error"), 0.2, "max_calibration_error"),
        (("ranker", "all", "calibration_ratio"), 4.0, "max_calibration_ratio"),
        (("ranker", "all", "calibration_ratio"), 0.2, "max_calibration_ratio"),
        (("leakage", "shuffled"), 0.55, "max_shuffled_errors"),
        (("leakage", "strongest_auc"), 0.995, "max_single_input_auc"),
        (("scopes", "overall", "methods", "model", "coverage", "mean"), 0.005, "min_coverage"),
    ],
)
def test_single_broken_rule_refuses_and_comes_first(path, value, rule):
    result = _change(_result(), path, value)
    assert [check.rule for check in _broken(result)] == [rule]
    assert apply_rules(result, Rules())[0].rule == rule


def test_uncertain_loss_is_refused_only_if_certainty_is_required():
    noisy = _change(_result(), DIFFERENCE, _estimate(-0.01, 0.04))
    assert not _broken(noisy)
    assert [check.rule for check in _broken(noisy, Rules(certain=True))] == ["beat"]
    assert not _broken(_result(), Rules(certain=True))


def test_only_the_baselines_of_the_rules_decide():
    worse = _change(_result(), DIFFERENCE, _estimate(-0.2, 0.01))
    rules = Rules(beat=("popularity",))
    assert not _broken(worse, rules)
    checks = [check for check in apply_rules(worse, rules) if "personal frequency" in check.sentence]
    assert [check.decides for check in checks] == [False]
    assert "is below that of personal frequency" in checks[0].sentence and "informative only" in checks[0].sentence


def test_a_comparable_champion_decides():
    champion = {"name": "20180101-ab", "comparable": True, "note": ""}
    assert not _broken(_result(champion))
    worse = _change(
        _result(champion), ("scopes", "overall", "differences", "champion", "ndcg_at_10"), _estimate(-0.02, 0.01)
    )
    assert [check.rule for check in _broken(worse)] == ["champion"]


def test_champion_that_has_seen_the_test_window_does_not_decide():
    champion = {"name": "20180101-ab", "comparable": False, "note": "The champion 20180101-ab has seen it."}
    result = _change(
        _result(champion), ("scopes", "overall", "differences", "champion", "ndcg_at_10"), _estimate(-0.2, 0.01)
    )
    checks = [check for check in apply_rules(result, Rules()) if check.rule == "champion"]
    assert [(check.passed, check.decides, check.sentence) for check in checks] == [(True, False, champion["note"])]
