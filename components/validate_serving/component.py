"""KFP component of the serving proof."""

from kfp.dsl import Artifact, Input, Metrics, Model, Output

from components.image_component import image_component
from components.shared.images import SERVE_IMAGE


@image_component(SERVE_IMAGE)
def validate_serving(
    bundle: Input[Model],
    proof: Output[Artifact],
    report: Output[Metrics],
    release: dict = {},  # noqa: B006 - KFP takes the default as a constant
    public_key: str = "",
):
    """Start the predictor on the bundle and check its answers, latency and memory.

    Args:
        bundle: Output of register_model.
        release: Options of components/shared/release/config.py, ReleaseOptions: max_p99_ms, max_memory_mb.
        public_key: PEM public key to verify the bundle; empty: only the files are verified.

    Returns:
        proof: Folder with proof.json, only written if all checks passed.
        report: Latency, memory, start-up time and golden requests.
    """
    from pathlib import Path

    from components.shared.release.config import ReleaseOptions
    from components.validate_serving import prove as stage

    limits = ReleaseOptions.read(release, "release")
    predictor = stage.PredictorConfig(public_key=Path(public_key) if public_key else None)
    config = stage.ProofConfig(max_p99_ms=limits.max_p99_ms, max_memory_mb=limits.max_memory_mb, predictor=predictor)
    result = stage.prove(Path(bundle.path), Path(proof.path), config)
    for name, value in result.metrics().items():
        report.log_metric(name, value)
