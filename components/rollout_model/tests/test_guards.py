"""Verdicts of the judge over whole steps: wait, pass or roll back, the numbers behind them, and restarts."""

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from components.rollout_model.guards import BAD, Action, Arm, GuardConfig, Interval, Metric, State
from components.rollout_model.judge import Judge
from components.rollout_model.sequential import ABOVE, LOG_RATIOS, log_mixture, ratio_evidence

QUICK = GuardConfig(min_sample=1_000, min_duration_s=60, max_duration_s=1_800)


def arm(requests, errors=0, empty=0, slow=0, clicks=None, purchases=None):
    return Arm(requests=requests, errors=errors, empty=empty, slow=slow, clicks=clicks, purchases=purchases)


def draw_interval(random, requests, share, candidate=None, clicks=True, overlap=0.6):
    """Draw an interval with typical rates; those of the candidate are multiplied by the given factors."""
    usual = {"errors": 0.01, "empty": 0.02, "slow": 0.01, **({"clicks": 0.12, "purchases": 0.02} if clicks else {})}
    mine = random.binomial(requests, share)
    arms = [
        arm(number, **{name: int(random.binomial(number, min(rate * factors.get(name, 1.0), 1)))
                       for name, rate in usual.items()})
        for number, factors in ((requests - mine, {}), (mine, candidate or {}))
    ]  # fmt: skip
    overlaps = tuple((random.binomial(10, overlap, 50) / 10).tolist()) if overlap is not None else ()
    return Interval(seconds=60.0, champion=arms[0], candidate=arms[1], overlaps=overlaps)


def step(judge, random, share, looks=30, requests=10_000, **drawing):
    """Observe intervals until the step is decided."""
    judge.start_step(share)
    for _ in range(looks):
        verdict = judge.observe(draw_interval(random, requests, share, **drawing))
        if verdict.action is not Action.WAIT:
            return verdict
    return verdict


def guard(verdict, metric):
    return next(one for one in verdict.guards if one.metric is metric)


def test_an_equal_model_passes_every_step_with_every_guard_safe():
    judge, random = Judge(QUICK), np.random.default_rng(0)
    for share in (0.05, 0.25, 0.5, 1.0):
        verdict = step(judge, random, share, requests=60_000)
        assert verdict.action is Action.PASS, verdict.reasons
    assert {one.state for one in verdict.guards} == {State.SAFE}


@pytest.mark.parametrize(("metric", "factors"), [
    (Metric.ERRORS, {"errors": 10}), (Metric.EMPTY, {"empty": 3}), (Metric.SLOW, {"slow": 4}),
    (Metric.CLICKS, {"clicks": 0.5}), (Metric.PURCHASES, {"purchases": 0.2}),
])  # fmt: skip
def test_each_harm_is_detected_at_the_first_share_and_named_with_its_limit(metric, factors):
    verdict = step(Judge(QUICK), np.random.default_rng(1), 0.05, candidate=factors)
    assert verdict.action is Action.ROLL_BACK
    found = guard(verdict, metric)
    assert found.state is State.HARM and found.p_value <= QUICK.alpha_guard and found.harm_e >= 1 / QUICK.alpha_guard
    assert [one.metric for one in verdict.guards if one.state is State.HARM] == [metric]
    reason = verdict.reasons[0]
    assert metric.label in reason and f"{found.candidate_events:,} of {found.candidate_requests:,}" in reason
    assert f"limit at {'most' if metric in BAD else 'least'} {found.limit:.3g}" in reason
    assert found.low > 1 if metric in BAD else found.high < 1


def test_low_overlap_of_the_lists_rolls_back():
    verdict = step(Judge(QUICK), np.random.default_rng(2), 0.05, overlap=0.1)
    assert verdict.action is Action.ROLL_BACK
    assert guard(verdict, Metric.OVERLAP).state is State.HARM and "limit at least 0.3" in verdict.reasons[0]


def test_step_without_candidate_requests_waits_and_then_rolls_back():
    judge = Judge(QUICK)
    judge.start_step(0.05)
    idle = Interval(seconds=600.0, champion=arm(5_000), candidate=arm(0))
    assert [judge.observe(idle).action for _ in range(3)] == [Action.WAIT, Action.WAIT, Action.ROLL_BACK]
    assert "no data" in judge.observe(idle).reasons[0]


def test_sample_below_the_minimum_at_the_deadline_rolls_back():
    judge = Judge(QUICK)
    judge.start_step(0.05)
    verdict = judge.observe(Interval(seconds=1_800.0, champion=arm(19_000), candidate=arm(999)))
    assert verdict.action is Action.ROLL_BACK and "999" in verdict.reasons[0] and "1,000" in verdict.reasons[0]


def test_no_errors_are_safe_in_10000_requests_and_undecided_in_1000():
    judge = Judge(QUICK.replace(judged=BAD))
    judge.start_step(0.5)
    first = judge.observe(Interval(seconds=60.0, champion=arm(1_000), candidate=arm(1_000)))
    assert first.action is Action.WAIT and guard(first, Metric.ERRORS).state is State.UNDECIDED
    second = judge.observe(Interval(seconds=60.0, champion=arm(9_000), candidate=arm(9_000)))
    assert second.action is Action.PASS, second.reasons


def test_clicks_without_data_are_not_judged_and_do_not_stop_the_step():
    verdict = step(Judge(QUICK), np.random.default_rng(3), 0.5, requests=60_000, clicks=False)
    assert verdict.action is Action.PASS
    assert guard(verdict, Metric.CLICKS).state is State.NO_DATA
    assert f"{Metric.CLICKS.label}: not judged, no data" in verdict.reasons


def test_a_required_guard_without_data_rolls_back():
    config = QUICK.replace(required=(*BAD, Metric.CLICKS))
    verdict = step(Judge(config), np.random.default_rng(3), 0.5, clicks=False)
    assert verdict.action is Action.ROLL_BACK and Metric.CLICKS.label in verdict.reasons[0]


def test_undecided_guard_passes_an_early_step_and_is_tested_at_the_final_one():
    """24 % more errors: undecided in the sequential test, significant in the single planned test of the final step."""
    config = QUICK.replace(judged=BAD, max_duration_s=60.0)
    worse = Interval(seconds=60.0, champion=arm(50_000, errors=500), candidate=arm(50_000, errors=620))
    for final, action in ((False, Action.PASS), (True, Action.ROLL_BACK)):
        judge = Judge(config)
        judge.start_step(0.5, final=final)
        verdict = judge.observe(worse)
        assert guard(verdict, Metric.ERRORS).state is State.UNDECIDED
        assert verdict.action is action, verdict.reasons
    assert "final test" in verdict.reasons[0]


def test_strict_mode_rolls_back_an_estimate_beyond_the_tolerance():
    worse = Interval(seconds=60.0, champion=arm(5_000, errors=50), candidate=arm(5_000, errors=60))
    for strict, action in ((False, Action.PASS), (True, Action.ROLL_BACK)):
        judge = Judge(QUICK.replace(judged=BAD, max_duration_s=60.0, strict=strict))
        judge.start_step(0.5)
        assert judge.observe(worse).action is action


def test_harm_that_begins_at_a_larger_share_is_detected():
    """Much earlier evidence of safety must not outweigh it: the mixture over start steps discounts it."""
    judge, random = Judge(QUICK), np.random.default_rng(4)
    judge.start_step(0.25)
    for _ in range(500):
        judge.observe(draw_interval(random, 20_000, 0.25))
    verdict = step(judge, random, 0.5, candidate={"errors": 1.5}, requests=20_000)
    assert verdict.action is Action.ROLL_BACK and guard(verdict, Metric.ERRORS).state is State.HARM


def test_e_value_of_harm_is_a_mixture_over_start_steps():
    """Half for harm since the first step, a sixth for harm since the second."""
    judge, evidence = Judge(QUICK), []
    for share, errors in ((0.25, 12), (0.5, 40)):
        judge.start_step(share)
        counts = {"champion": arm(1_000, errors=15), "candidate": arm(1_000, errors=errors)}
        verdict = judge.observe(Interval(seconds=60.0, **counts))
        evidence.append(ratio_evidence(LOG_RATIOS[None], *np.array([[errors], [1_000.0], [15], [1_000]])))
    both, second = (np.exp(log_mixture(found, ABOVE)) for found in (sum(evidence), evidence[1]))
    assert guard(verdict, Metric.ERRORS).harm_e == pytest.approx(float(both[0] / 2 + second[0] / 6))


def test_proven_increase_within_the_tolerance_is_safe():
    """20 % more slow answers: the interval of the ratio lies above 1 and below the tolerated 1.5."""
    judge = Judge(QUICK)
    for share in (0.5, 0.75):
        judge.start_step(share)
        interval = Interval(seconds=60.0, champion=arm(500_000, slow=5_000), candidate=arm(500_000, slow=6_000))
        verdict = judge.observe(interval)
        found = guard(verdict, Metric.SLOW)
        assert found.low > 1 and found.high < 1.5
        assert found.state is State.SAFE and verdict.action is Action.PASS, verdict.reasons


def test_full_share_is_compared_with_earlier_rates_of_the_champion():
    for factor, action in ((1.3, Action.PASS), (4.0, Action.ROLL_BACK)):
        judge, random = Judge(QUICK), np.random.default_rng(5)
        assert step(judge, random, 0.5, requests=60_000).action is Action.PASS
        verdict = step(judge, random, 1.0, candidate={"errors": factor})
        assert verdict.action is action, verdict.reasons
    assert guard(verdict, Metric.ERRORS).limit == 2 and "of the champion before" in verdict.reasons[0]


def test_undecided_full_share_passes_after_the_minimum_sample_and_time():
    """About 60 % more slow answers at another time of day do not prove a doubling, and must not prolong the step."""
    judge = Judge(QUICK.replace(judged=BAD))
    judge.start_step(0.5)
    both = {name: arm(200_000, errors=20, empty=10, slow=2_000) for name in ("champion", "candidate")}
    assert judge.observe(Interval(seconds=60.0, **both)).action is Action.PASS
    judge.start_step(1.0)
    verdicts = [
        judge.observe(Interval(seconds=30.0, champion=arm(0), candidate=arm(600, slow=slow))) for slow in (10, 9)
    ]
    assert [one.action for one in verdicts] == [Action.WAIT, Action.PASS]
    assert guard(verdicts[1], Metric.SLOW).state is State.UNDECIDED and guard(verdicts[1], Metric.SLOW).low is None


def test_full_share_tolerates_errors_that_both_versions_had_before():
    for trouble, action in ((0.1, Action.PASS), (0.01, Action.ROLL_BACK)):
        judge, random = Judge(QUICK.replace(judged=BAD)), np.random.default_rng(10)
        assert step(judge, random, 0.5, requests=60_000).action is Action.PASS
        both = {name: arm(5_000, errors=int(5_000 * trouble)) for name in ("champion", "candidate")}
        judge.observe(Interval(seconds=600.0, **both))
        judge.start_step(1.0)
        alone = Interval(seconds=60.0, champion=arm(0), candidate=arm(10_000, errors=1_000))
        assert judge.observe(alone).action is action


def test_full_share_without_an_earlier_step_rolls_back():
    assert step(Judge(QUICK), np.random.default_rng(6), 1.0).action is Action.ROLL_BACK


def test_spike_of_errors_in_both_versions_is_not_harm():
    judge, random = Judge(QUICK), np.random.default_rng(7)
    judge.start_step(0.25)
    for look in range(30):
        both = 0.3 if 10 <= look < 15 else 0.01
        mine = random.binomial(5_000, 0.25)
        counts = [arm(int(n), errors=int(random.binomial(n, both))) for n in (5_000 - mine, mine)]
        verdict = judge.observe(Interval(seconds=1.0, champion=counts[0], candidate=counts[1]))
        assert guard(verdict, Metric.ERRORS).state is not State.HARM


def test_equal_model_with_little_traffic_is_rolled_back_at_the_rate_alpha():
    """Whole rollouts with too little traffic to prove safety, with up to 120 observations each."""
    runs, random, rollbacks = 200, np.random.default_rng(8), 0
    config = QUICK.replace(min_sample=100, max_duration_s=2_400)
    for _ in range(runs):
        judge = Judge(config)
        for share in (0.1, 0.5, 1.0):
            verdict = step(judge, random, share, looks=40, requests=150)
            if verdict.action is Action.ROLL_BACK:
                rollbacks += 1
                break
    assert rollbacks <= stats.binom.ppf(0.999, runs, config.alpha)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7))
def test_judge_restored_from_json_returns_the_same_verdicts(seed, cut):
    def verdicts(restart):
        judge, random, found = Judge(QUICK), np.random.default_rng(seed), []
        for look in range(8):
            if look % 3 == 0:
                judge.start_step((0.05, 0.5, 1.0)[look // 3])
            found.append(judge.observe(draw_interval(random, 500, (0.05, 0.5, 1.0)[look // 3], clicks=look != 4)))
            if restart and look == cut:
                judge = Judge.from_json(json.loads(json.dumps(judge.to_json(), allow_nan=False)))
        return found

    assert verdicts(restart=True) == verdicts(restart=False)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 199))
def test_one_more_candidate_error_never_reduces_the_evidence_of_harm(champion, before, candidate):
    found = []
    for errors in (candidate, candidate + 1):
        judge = Judge(QUICK)
        judge.start_step(0.3)
        judge.observe(Interval(seconds=60.0, champion=arm(1_000, errors=champion), candidate=arm(400, errors=before)))
        arms = {"champion": arm(800, errors=champion), "candidate": arm(200, errors=errors)}
        found.append(guard(judge.observe(Interval(seconds=60.0, **arms)), Metric.ERRORS))
    assert found[1].harm_e >= found[0].harm_e
    assert found[1].safe_e <= found[0].safe_e
    assert found[1].p_value <= found[0].p_value


def test_observe_is_fast_and_the_state_small_after_1000_intervals():
    judge, random = Judge(QUICK), np.random.default_rng(9)
    judge.start_step(0.05)
    interval = draw_interval(random, 2_000, 0.05)
    started = time.process_time()
    for _ in range(1_000):
        judge.observe(interval)
    assert (time.process_time() - started) / 1_000 < 0.005
    assert len(json.dumps(judge.to_json())) < 60_000
