"""KFP component of the rollout stage."""

from kfp.dsl import HTML, Artifact, Input, Metrics, Output

from components.image_component import image_component
from components.shared.images import DATA_IMAGE


@image_component(DATA_IMAGE)
def rollout_model(
    proof: Input[Artifact],
    evaluation: Input[Artifact],
    registry: str,
    model_name: str,
    version: str,
    record: Output[Artifact],
    page: Output[HTML],
    result: Output[Metrics],
    release: dict = {},  # noqa: B006 - KFP takes the default as a constant
    rollout: dict = {},  # noqa: B006
) -> str:
    """Roll out a version step by step under sequential tests, then promote it or roll it back.

    Args:
        proof: Output of validate_serving for this version.
        evaluation: Output of evaluate_model with its decision.
        registry: Folder of the registry.
        model_name: Name of the model in the registry.
        version: Output of register_model.
        release: Options of components/shared/release/config.py, ReleaseOptions: the service.
        rollout: Options of components/rollout_model/config.py, RolloutOptions.

    Returns:
        record: Measurements of each step and the decision.
        page: The record as a page with plots.
        result: Whether it was promoted, and the duration.
        Output: promoted or rolled_back.
    """
    from pathlib import Path

    from components.rollout_model import run as stage

    config = stage.rollout_of(registry, (model_name, version), release, rollout)
    done = stage.roll_out(config, (Path(proof.path), Path(evaluation.path)), Path(record.path), Path(page.path))
    result.log_metric("promoted", float(done.promoted))
    result.log_metric("seconds_to_move_traffic", done.moved - done.decided)
    return done.action
