"""Release gates; each returns a sentence with its numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.evaluate_model.compare import CHAMPION
from components.evaluate_model.config import Rules

METRIC = "ndcg_at_10"
"""The metric that decides comparisons."""


@dataclass(frozen=True)
class Check:
    """Result of one rule.

    Attributes:
        rule: field of Rules. passed: whether it passed. sentence: the result with its numbers.
        decides: False for informative checks.
    """

    rule: str
    passed: bool
    sentence: str
    decides: bool = True


def apply_rules(result: dict[str, Any], rules: Rules) -> list[Check]:
    """Apply all release gates to metrics.json; failed ones come first."""
    overall = result["scopes"]["overall"]
    checks = [_shoppers(overall["shoppers"], rules), *_trained(result["trained"], rules)]
    checks += [_difference(overall, name, rules) for name in rules.beat if name in overall["methods"]]
    checks += [_informative(overall, name) for name in overall["differences"] if name not in (*rules.beat, CHAMPION)]
    checks += _champion(result, rules)
    checks += _ranker(result["ranker"]["all"], rules)
    checks += leakage_checks(result["leakage"], rules)
    checks.append(_coverage(overall, result["split"]["items"], rules))
    return sorted(checks, key=lambda check: check.passed)


def _shoppers(count: int, rules: Rules) -> Check:
    passed = count >= rules.min_shoppers
    return Check(
        "min_shoppers", passed,
        f"The test window has {count:,} shoppers, {'enough' if passed else 'too few'} (at least {rules.min_shoppers}).",
    )  # fmt: skip


def _trained(trained: dict[str, int], rules: Rules) -> Iterator[Check]:
    """A model of almost no data may still look good on a test window that is as empty."""
    for rule, count, what in (("min_training_rows", trained["rows"], "rows"),
                              ("min_trained_items", trained["items"], "items")):  # fmt: skip
        least = getattr(rules, rule)
        passed = count >= least
        yield Check(
            rule, passed,
            f"The retriever learned from {count:,} {what}, {'enough' if passed else 'too few'} (at least {least}).",
        )  # fmt: skip


def _difference(overall: dict[str, Any], name: str, rules: Rules) -> Check:
    """Compare the model with a method that it must match."""
    difference, rule = overall["differences"][name][METRIC], "champion" if name == CHAMPION else "beat"
    mean, low, high = (difference[key] for key in ("mean", "low", "high"))
    if mean is None:
        return Check(rule, False, f"The model cannot be compared with {name}: no test shopper has a target.")
    needs_certainty = rules.certain and rule == "beat"
    passed = low > 0 if needs_certainty else mean >= -rules.tolerance and high > 0
    limit = "the interval must be above zero" if needs_certainty else (
        f"the deficit may be at most {rules.tolerance} and the interval must include values above zero"
    )  # fmt: skip
    return Check(rule, passed, f"{_numbers(overall, name)}{'' if passed else ': ' + limit}.")


def _informative(overall: dict[str, Any], name: str) -> Check:
    """Compare the model with a baseline that is not in the rules; informative only."""
    return Check("beat", True, f"{_numbers(overall, name)}; informative only.", decides=False)


def _numbers(overall: dict[str, Any], name: str) -> str:
    """Comparison of the model with one other method, as a sentence; requires at least one shopper."""
    model, other = (overall["methods"][method][METRIC]["mean"] or 0.0 for method in ("model", name))
    mean, low, high = (overall["differences"][name][METRIC][key] or 0.0 for key in ("mean", "low", "high"))
    words = "above" if low > 0 else "below" if high <= 0 else "not distinguishable from"
    interval = f"difference {mean:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"
    return f"NDCG@10 {model:.4f} is {words} that of {name}, {other:.4f} ({interval})"


def _champion(result: dict[str, Any], rules: Rules) -> Iterator[Check]:
    champion = result["champion"]
    if champion is None:
        yield Check("champion", True, "There is no champion to compare with.", decides=False)
    elif not champion["comparable"]:
        yield Check("champion", True, champion["note"], decides=False)
    else:
        yield _difference(result["scopes"]["overall"], CHAMPION, rules)


def _ranker(task: dict[str, Any], rules: Rules) -> Iterator[Check]:
    auc, error, ratio = task["auc"], task["calibration_error"], task["calibration_ratio"]
    if auc is None or error is None or ratio is None:
        yield Check("min_auc", False, "The ranker cannot be evaluated: its candidates have only one class.")
        return
    yield Check(
        "min_auc", auc >= rules.min_auc,
        f"The ranker's AUC on its candidates is {auc:.4f}, {_side(auc >= rules.min_auc, 'at least')} {rules.min_auc}.",
    )  # fmt: skip
    yield Check(
        "max_calibration_error", error <= rules.max_calibration_error,
        f"Its calibration error is {error:.4f}, "
        f"{_side(error <= rules.max_calibration_error, 'at most')} {rules.max_calibration_error}.",
    )  # fmt: skip
    inside = 1 / rules.max_calibration_ratio <= ratio <= rules.max_calibration_ratio
    yield Check(
        "max_calibration_ratio", inside,
        f"It predicts {ratio:.2f} times the observed target events, {'inside' if inside else 'outside'} "
        f"{1 / rules.max_calibration_ratio:.2f} to {rules.max_calibration_ratio:.2f}.",
    )  # fmt: skip


def leakage_checks(found: dict[str, Any] | None, rules: Rules) -> Iterator[Check]:
    """Apply the leakage rules to the result of audit.leakage; no checks if it could not be measured."""
    if found is None:
        return
    off = abs(found["shuffled"] - 0.5) / max(found["shuffled_error"], 1e-9)
    yield Check(
        "max_shuffled_errors", off <= rules.max_shuffled_errors,
        f"With shuffled labels a plain model's AUC is {found['shuffled']:.3f} ± {found['shuffled_error']:.3f}, "
        f"{'at chance' if off <= rules.max_shuffled_errors else 'not at chance: labels leak'}.",
    )  # fmt: skip
    passed = found["learned"] <= rules.max_learned_auc
    yield Check(
        "max_learned_auc", passed,
        f"With the true labels its AUC is {found['learned']:.3f}, {_side(passed, 'at most')} {rules.max_learned_auc}"
        f"{'' if passed else ': the inputs leak the labels'}.",
    )  # fmt: skip
    passed = found["strongest_auc"] <= rules.max_single_input_auc
    yield Check(
        "max_single_input_auc", passed,
        f"The input '{found['strongest']}' alone has AUC {found['strongest_auc']:.3f}, "
        f"{_side(passed, 'at most')} {rules.max_single_input_auc}{'' if passed else ': it leaks the label'}.",
    )  # fmt: skip


def _coverage(overall: dict[str, Any], items: int, rules: Rules) -> Check:
    shown, positions = round(overall["methods"]["model"]["coverage"]["mean"] * items), 10 * overall["shoppers"]
    share = shown / max(min(items, positions), 1)
    passed = share >= rules.min_coverage
    return Check(
        "min_coverage", passed,
        f"The ten best of all test shoppers are {shown:,} different items on {positions:,} positions, {share:.1%} of "
        f"what is possible, {_side(passed, 'at least')} {rules.min_coverage:.1%}.",
    )  # fmt: skip


def _side(passed: bool, limit: str) -> str:
    return limit if passed else f"not {limit}"
