"""The release decision with all reasons, written by evaluate_model and read by later stages."""

from dataclasses import dataclass
from pathlib import Path

from components.shared.errors import InputError
from components.shared.storage import read_json, write_json

DECISION = "decision.json"


@dataclass(frozen=True)
class Decision:
    """Whether a model may replace the champion.

    Attributes:
        blessed: True if it may. reasons: reasons of the decision. metrics: evaluation metrics by flat name.
    """

    blessed: bool
    reasons: tuple[str, ...]
    metrics: dict[str, float]

    def write(self, evaluation: Path) -> None:
        """Write decision.json into the evaluation folder."""
        write_json(
            evaluation / DECISION,
            {"blessed": self.blessed, "reasons": list(self.reasons), "metrics": self.metrics},
        )


def read_decision(evaluation: Path) -> Decision:
    """Read decision.json of an evaluation folder.

    Raises:
        InputError: the file is missing or has another format.
    """
    raw = read_json(evaluation / DECISION)
    try:
        metrics = {str(name): float(value) for name, value in raw["metrics"].items()}
        decision = Decision(raw["blessed"], tuple(map(str, raw["reasons"])), metrics)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{evaluation / DECISION} is not a decision: {error}", "run evaluate_model again") from error
    if not isinstance(decision.blessed, bool):
        raise InputError(f"{evaluation / DECISION}: 'blessed' is not true or false", "run evaluate_model again")
    return decision
