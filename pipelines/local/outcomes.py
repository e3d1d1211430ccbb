"""What became of a model that a run has trained: released, refused, or rolled back."""

from components.rollout_model.record import read_record
from components.shared.evaluation.decision import read_decision
from pipelines.local.runs import Run, RunFailed


def check_released(run: Run) -> None:
    """Check that a finished training run released its model.

    Raises:
        RunFailed: the release gates refused it, or its rollout took it back; the message has the reasons.
    """
    decision = read_decision(run.artifact("evaluate-model", "evaluation"))
    if not decision.blessed:
        raise RunFailed(f"the model was refused: {' '.join(decision.reasons)}", f"see `shoprank report {run.folder}`")
    if not run.has("rollout-model"):
        return
    record = read_record(run.artifact("rollout-model", "record"))
    if not record.promoted:
        raise RunFailed(
            f"the model was blessed, but its rollout took it back, and {record.champion} serves as before: "
            f"{'; '.join(record.reasons)}",
            f"see {run.artifact('rollout-model', 'page')}",
        )
