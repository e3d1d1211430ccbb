"""KFP component that returns the release decision as a single output, which a KFP condition can read."""

from kfp import dsl
from kfp.dsl import Artifact, Input

from components.shared.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def read_blessing(evaluation: Input[Artifact]) -> bool:
    """Read whether the model passed the release gates.

    Args:
        evaluation: Output of evaluate_model.

    Returns:
        Output: Whether the model may replace the champion.
    """
    from pathlib import Path

    from components.shared.evaluation.decision import read_decision

    return read_decision(Path(evaluation.path)).blessed
