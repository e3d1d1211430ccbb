"""Input that the judge refuses: invalid limits, counts and states."""

import dataclasses
import json

import pytest

from components.rollout_model.guards import Arm, GuardConfig, Interval, Metric
from components.rollout_model.judge import Judge
from components.shared.errors import InputError

CONFIG = GuardConfig(min_sample=1_000, min_duration_s=60, max_duration_s=1_800)
ARM = Arm(requests=10, errors=0, empty=0, slow=0, clicks=None, purchases=None)


@pytest.mark.parametrize("change", [
    {"alpha": 0.0}, {"beta": 1.0}, {"min_sample": 0}, {"min_duration_s": 9e9}, {"click_tolerance": 1.5},
    {"judged": (), "required": ()}, {"judged": (Metric.ERRORS,)}, {"full_share_factor": 0.5},
])  # fmt: skip
def test_invalid_guard_options_are_refused(change):
    with pytest.raises(InputError, match=r"rollout\.guards(\.\w+ is|: )"):
        GuardConfig.read(change, "rollout.guards")


def test_invalid_counts_are_refused():
    for wrong in ({"errors": 11}, {"slow": -1}, {"clicks": 11}):
        with pytest.raises(InputError, match=f"Arm.{next(iter(wrong))}"):
            dataclasses.replace(ARM, **wrong)
    with pytest.raises(InputError, match="overlaps"):
        Interval(seconds=1.0, champion=ARM, candidate=ARM, overlaps=(1.2,))
    with pytest.raises(InputError, match="seconds"):
        Interval(seconds=float("nan"), champion=ARM, candidate=ARM)


def test_judge_refuses_percentages_a_missing_step_and_invalid_state():
    judge = Judge(CONFIG)
    with pytest.raises(InputError, match=r"0\.05"):
        judge.start_step(5)
    with pytest.raises(InputError, match="no current step"):
        judge.observe(Interval(seconds=1.0, champion=ARM, candidate=ARM))
    for raw in ({}, {"format": 99}, {**judge.to_json(), "steps": [{}]}, {**judge.to_json(), "config": {"alpha": "x"}}):
        with pytest.raises(InputError):
            Judge.from_json(raw)


def test_guard_config_round_trips_through_json_and_refuses_unknown_fields():
    assert GuardConfig.read(json.loads(json.dumps(CONFIG.to_json())), "guards") == CONFIG
    with pytest.raises(InputError, match=r"guards.alhpa is not an option\n.*did you mean 'alpha'"):
        GuardConfig.read({"alhpa": 0.1}, "guards")
