"""The record of a rollout: reading and writing, downsampling, and its page."""

import dataclasses
import json
import re

import numpy as np
import pytest

from components.rollout_model.guards import Action, Arm, GuardConfig, Interval, Metric
from components.rollout_model.judge import Judge
from components.rollout_model.page import PAGE, write_record
from components.rollout_model.record import (
    PROMOTED,
    RECORD,
    ROLLED_BACK,
    Observation,
    RolloutRecord,
    downsampled,
    read_record,
)
from components.shared.errors import InputError

CONFIG = GuardConfig(min_sample=500, min_duration_s=60, max_duration_s=1_200)
BEGAN = 1_790_000_000.0


def rollout(errors=0.01, clicks=True, steps=(5, 50, 100)):
    """A rollout through the real judge with one observation per minute; no overlaps at full share."""
    judge, random, seen, time = Judge(CONFIG), np.random.default_rng(0), [], BEGAN
    action, verdict = Action.WAIT, None
    for percent in steps:
        judge.start_step(percent / 100)
        action = Action.WAIT
        while action is Action.WAIT:
            time += 60
            arms = []
            for share, rate in ((100 - percent, 0.01), (percent, errors)):
                n = 600 * share
                arms.append(Arm(
                    requests=n, errors=int(random.binomial(n, rate)), empty=int(random.binomial(n, 0.02)),
                    slow=int(random.binomial(n, 0.01)), clicks=int(random.binomial(n, 0.1)) if clicks else None,
                ))  # fmt: skip
            overlaps = tuple((random.binomial(10, 0.6, 30) / 10).tolist()) if percent < 100 else ()
            verdict = judge.observe(Interval(seconds=60.0, champion=arms[0], candidate=arms[1], overlaps=overlaps))
            seen.append(Observation(time=time, percent=percent, interval=interval_of(arms, overlaps), verdict=verdict))
            action = verdict.action
        if action is Action.ROLL_BACK:
            break
    return RolloutRecord(
        model="shop", champion="v6", candidate="v7", action=PROMOTED if action is Action.PASS else ROLLED_BACK,
        reasons=verdict.reasons, began=BEGAN, decided=time, moved=time + 1.5, slow=0.08, steps=steps, guards=CONFIG,
        seen=tuple(seen),
    )  # fmt: skip


def interval_of(arms, overlaps):
    return Interval(seconds=60.0, champion=arms[0], candidate=arms[1], overlaps=overlaps)


@pytest.fixture(scope="module")
def promoted():
    return rollout()


@pytest.fixture(scope="module")
def rolled_back():
    return rollout(errors=0.1, clicks=False)


def test_record_round_trips_through_its_file(promoted, rolled_back, tmp_path):
    for record in (promoted, rolled_back):
        write_record(record, tmp_path)
        read = read_record(tmp_path)
        assert read.to_json() == record.to_json()
        assert read.seen[-1].verdict == record.seen[-1].verdict and read.guards == record.guards
    assert (promoted.promoted, rolled_back.promoted) == (True, False)


def test_page_of_a_rollback_names_the_reason_and_loads_nothing(rolled_back, tmp_path):
    write_record(rolled_back, tmp_path)
    page = (tmp_path / PAGE).read_text()
    assert "Rolled back: v6 serves all traffic; harm in error rate" in page
    assert rolled_back.reasons[0].split(";")[0] in page.replace("&#39;", "'")
    assert "Click rate: not judged, no data." in page
    assert page.count("<svg") == 4, "errors, slow, empty and overlap; clicks and purchases had no data"
    assert not re.findall(r"(?:src|href)=[\"']https?://", page)


def test_page_of_a_promotion_shows_every_guard_with_data(promoted, tmp_path):
    write_record(promoted, tmp_path)
    page = (tmp_path / PAGE).read_text()
    assert "Promoted: v7 serves all traffic instead of v6" in page and page.count("<svg") == 5
    for metric in (Metric.ERRORS, Metric.CLICKS, Metric.OVERLAP):
        assert metric.label.capitalize() in page


def test_page_of_a_rollout_without_observations_shows_the_escaped_reason(promoted, tmp_path):
    why = ("dark launch: <the golden requests> differ",)
    write_record(dataclasses.replace(promoted, action=ROLLED_BACK, seen=(), slow=None, reasons=why), tmp_path)
    assert "dark launch: &lt;the golden requests&gt; differ" in (tmp_path / PAGE).read_text()
    assert read_record(tmp_path).reasons == why and read_record(tmp_path).candidate_requests == 0


def test_single_observation_is_plotted(promoted, tmp_path):
    write_record(dataclasses.replace(promoted, seen=promoted.seen[:1]), tmp_path)
    assert (tmp_path / PAGE).read_text().count("<svg") == 5


@pytest.mark.parametrize("most", [2, 3, 7])
def test_downsampling_keeps_totals_order_and_the_last_of_each_step(rolled_back, most):
    looks = [
        dataclasses.replace(rolled_back.seen[0], time=BEGAN + at, percent=5 if at < 41 else 50) for at in range(60)
    ]
    kept = downsampled(looks, most)
    assert [one.time for one in kept] == sorted(one.time for one in kept)
    assert {BEGAN + 40, BEGAN + 59} <= {one.time for one in kept}
    for percent in (5, 50):
        old, new = ([one for one in part if one.percent == percent] for part in (looks, kept))
        assert len(new) <= most
        for total in (lambda one: one.interval.candidate.requests, lambda one: len(one.interval.overlaps),
                      lambda one: one.interval.seconds):  # fmt: skip
            assert sum(map(total, new)) == sum(map(total, old))
        assert all(one.interval.candidate.clicks is None for one in new)
    assert downsampled(kept, most) == kept


@pytest.mark.parametrize(("change", "message"), [
    ({"format": 2}, "format 2"), ({"action": "paused"}, "paused"), ({"seen": [{}]}, "observation"),
    ({"guards": {"x": 1}}, "x"),
])  # fmt: skip
def test_record_of_another_format_is_refused(promoted, tmp_path, change, message):
    (tmp_path / RECORD).write_text(json.dumps({**promoted.to_json(), **change}))
    with pytest.raises(InputError, match=message):
        read_record(tmp_path)


def test_a_missing_record_and_a_missing_field_are_refused(promoted, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_record(tmp_path)
    (tmp_path / RECORD).write_text(json.dumps({k: v for k, v in promoted.to_json().items() if k != "champion"}))
    with pytest.raises(InputError, match="champion"):
        read_record(tmp_path)
