"""A small simulation: broken candidates are always stopped, equal ones rarely; the storefront has its stated rates."""

import json

import numpy as np
import pytest
from scipy import stats

from tests.benchmarks.rollouts.page import needed_requests, simulation_page, table
from tests.benchmarks.rollouts.rivals import at_every_look, at_the_end, p_values
from tests.benchmarks.rollouts.simulation import SCENARIOS, Plan, Scenario, judged, simulate
from tests.benchmarks.rollouts.storefront import Counts, Storefront, Stretch, Version, draw

ROLLOUTS = 20
HOURLY = Stretch(start_s=0.0, seconds=3_600.0, intervals=240, share=0.25)


@pytest.fixture(scope="module")
def results():
    return simulate(ROLLOUTS, seed=1, plan=Plan(poll_s=600.0))


def test_broken_candidates_are_stopped_at_the_first_share_within_an_hour(results):
    for name in ("failing", "latency", "empty"):
        found = results["scenarios"][name]["methods"]["judge"]
        assert found["stopped"] == ROLLOUTS, name
        assert found["hours_p90"] <= 1 and found["traffic_share_median"] == pytest.approx(0.05, abs=0.01)
    decided = {
        name: set(results["scenarios"][name]["methods"]["judge"]["decided_by"]) for name in ("failing", "latency")
    }
    assert "error_rate" in decided["failing"] and "p99_latency" in decided["latency"]
    assert "empty_rate" in results["scenarios"]["empty"]["methods"]["judge"]["decided_by"]


def test_small_regressions_are_detected(results):
    for name, least in (("clicks", 1.0), ("errors", 0.8)):
        assert results["scenarios"][name]["methods"]["judge"]["share"] >= least, name


def test_equal_models_are_stopped_at_most_at_rate_alpha_but_not_by_peeking(results):
    for name in ("equal", "equal_small"):
        assert results["scenarios"][name]["methods"]["judge"]["stopped"] <= stats.binom.ppf(0.999, ROLLOUTS, 0.05)
    assert results["scenarios"]["equal"]["methods"]["t_test_peeking"]["share"] > 0.3
    trouble = results["scenarios"]["equal_in_trouble"]["methods"]["judge"]
    assert trouble["stopped"] - trouble["stopped_at_full_share"] <= stats.binom.ppf(0.999, ROLLOUTS, 0.05)


def test_table_and_page_of_json_results_include_every_scenario(results):
    again = json.loads(json.dumps(results, allow_nan=False))
    text, page = table(again), simulation_page(again).html()
    for scenario in SCENARIOS.values():
        assert f"| {scenario.title} |" in text and scenario.title in page
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {7}


def test_rollout_is_determined_by_its_seed():
    scenario = SCENARIOS["clicks"]
    first, second = (judged(scenario, Plan(poll_s=600.0), np.random.default_rng((5, 0))) for _ in range(2))
    assert first == second
    assert first != judged(scenario, Plan(poll_s=600.0), np.random.default_rng((5, 1)))


def test_storefront_draws_have_the_stated_rates():
    shop = Storefront(requests_per_s=40.0)
    counts = draw(shop, Version(), HOURLY, np.array([]), np.random.default_rng(0))
    whole = counts.requests.sum(0)
    assert whole.sum() / (240 * 3_600) == pytest.approx(40, rel=0.01)
    assert whole[1] / whole.sum() == pytest.approx(0.25, rel=0.01)
    assert counts.errors.sum(0) / whole == pytest.approx([0.005, 0.005], rel=0.03)
    assert counts.slow.sum(0) / whole == pytest.approx([0.01, 0.01], rel=0.25)
    empty = sum(category.weight * category.empty for category in shop.categories)
    assert counts.empty.sum() / whole.sum() == pytest.approx(empty * 0.995, rel=0.02)
    hourly = counts.requests.sum(1).reshape(-1, 24).mean(0)
    assert hourly.max() / hourly.min() == pytest.approx(3, rel=0.1), "50 to 150 % of the mean"
    assert (counts.overlaps @ np.arange(11)).sum() / counts.overlaps.sum() == pytest.approx(6, rel=0.02)


@pytest.mark.parametrize(("candidate", "name", "ratio"), [
    (Version(error_factor=1.1), "errors", 1.1), (Version(click_factor=0.9), "clicks", 0.9),
    (Version(failing=0.1), "errors", 21.0),
])  # fmt: skip
def test_faults_change_rates_by_the_stated_factors(candidate, name, ratio):
    counts = draw(Storefront(), candidate, HOURLY, np.array([]), np.random.default_rng(1))
    rates = getattr(counts, name).sum(0) / counts.requests.sum(0)
    assert rates[1] / rates[0] == pytest.approx(ratio, rel=0.02)


def test_latency_factor_scales_the_p99_latency():
    """The slower version exceeds the limit times the factor as often as the champion exceeds the limit."""
    shop = Storefront(busy_slower=0.0)
    slow = draw(shop, Version(latency_factor=1.5), HOURLY, np.array([]), np.random.default_rng(2))
    tail = stats.lognorm.sf(shop.slow_limit_s, shop.sigma, scale=1.5 * shop.median_latency_s)
    assert slow.slow[:, 1].sum() / slow.requests[:, 1].sum() == pytest.approx(tail, rel=0.02)
    assert stats.lognorm.ppf(0.99, shop.sigma, scale=1.5 * shop.median_latency_s) == pytest.approx(
        1.5 * shop.slow_limit_s
    )


def test_incidents_hit_both_versions():
    counts = draw(Storefront(), Version(), HOURLY, np.array([1_500.0]), np.random.default_rng(3))
    rates = counts.errors / counts.requests
    assert (rates[0] > 10 * rates[1:].mean(0)).all()


def test_intervals_sum_to_the_counts():
    counts = draw(Storefront(), Version(), HOURLY, np.array([]), np.random.default_rng(4))
    intervals = list(counts.intervals(60.0))
    assert len(intervals) == 240
    assert sum(one.candidate.clicks for one in intervals) == counts.clicks[:, 1].sum()
    assert sum(len(one.overlaps) for one in intervals) == counts.overlaps.sum()


def test_t_test_matches_scipy():
    counts = draw(Storefront(), Version(error_factor=1.3), HOURLY, np.array([]), np.random.default_rng(5))
    n, x = counts.requests.sum(0), counts.errors.sum(0)
    rates = x / n
    spread = np.sqrt(rates * (1 - rates) * n / (n - 1))
    expected = stats.ttest_ind_from_stats(
        rates[1], spread[1], n[1], rates[0], spread[0], n[0], equal_var=False, alternative="greater"
    )
    assert p_values(counts)["errors"][-1] == pytest.approx(expected.pvalue, rel=1e-3)
    assert at_the_end(counts, 0.01).at == 239 and at_every_look(counts, 0.01).at < 239


def test_t_tests_do_not_stop_without_events():
    none = np.zeros((5, 2), int)
    counts = Counts(requests=none + 100, errors=none, empty=none, slow=none, clicks=none, purchases=none, overlaps=none)
    assert at_the_end(counts, 0.5) is None and at_every_look(counts, 0.5) is None


def test_stated_number_of_requests_is_enough_to_detect_more_errors():
    """With this many at half the traffic, about 9 of 10 rollouts detect 10 % more errors; inverse to the error rate."""
    plan = Plan(steps=(0.5, 1.0), poll_s=600.0)
    need = needed_requests(0.005, 0.1, 0.5, plan.guards)
    assert needed_requests(0.01, 0.1, 0.5, plan.guards) == pytest.approx(need / 2)
    shop = Storefront(requests_per_s=need / (6 * 3_600), wave=0.0)
    scenario = Scenario(title="", candidate=Version(error_factor=1.1), shop=shop)
    stopped = sum(judged(scenario, plan, np.random.default_rng((6, run))).stopped for run in range(40))
    assert 32 <= stopped <= 40
