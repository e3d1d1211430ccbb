"""What a finished training run says of its model: a rollout that was taken back is no release."""

import dataclasses

import pytest

from components.rollout_model.tests.test_record import rollout
from components.shared.evaluation.decision import Decision
from pipelines.local.outcomes import check_released
from pipelines.local.runs import Run, RunFailed


@pytest.fixture
def run(tmp_path):
    """A finished run whose model was blessed; its rollout's record is written by the test."""
    stages = ("evaluate-model", "rollout-model")
    for task, name in (("evaluate-model", "evaluation"), ("rollout-model", "record")):
        (tmp_path / "pipeline" / "training" / task / name).mkdir(parents=True)
    Decision(True, ("better",), {}).write(tmp_path / "pipeline" / "training" / "evaluate-model" / "evaluation")
    (tmp_path / "pipeline" / "training" / "rollout-model" / "page").write_text("<html>")
    return Run(tmp_path, "training", {}, tuple((task, 1.0) for task in stages))


def test_promoted_model_is_released(run):
    dataclasses.replace(rollout(), action="promoted").write(run.artifact("rollout-model", "record"))
    check_released(run)


def test_rolled_back_model_is_a_failed_run_with_the_reason(run):
    dataclasses.replace(rollout(), action="rolled_back", reasons=("errors: 9 % of 100",)).write(
        run.artifact("rollout-model", "record")
    )
    with pytest.raises(RunFailed, match="took it back, and v6 serves as before: errors: 9 % of 100") as failed:
        check_released(run)
    assert failed.value.fix.endswith("rollout-model/page")


def test_model_that_was_only_evaluated_needs_no_rollout(run):
    check_released(dataclasses.replace(run, stages=(("evaluate-model", 1.0),)))
