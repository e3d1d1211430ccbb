"""KFP face of the serving proof."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Metrics, Model, Output

from components.shared.images import SERVE_IMAGE


@dsl.component(base_image=SERVE_IMAGE, install_kfp_package=False)
def validate_serving(
    bundle: Input[Model],
    proof: Output[Artifact],
    report: Output[Metrics],
    max_p99_ms: float = 200.0,
    max_memory_mb: float = 2000.0,
    public_key: str = "",
):
    """Start the real predictor on the bundle and prove its answers, latency and memory.

    Args:
        bundle: Output of register_model.
        max_p99_ms: Largest 99th percentile of a request, in milliseconds.
        max_memory_mb: Largest resident memory of the predictor, in MB.
        public_key: PEM file of the key that must have signed the bundle; empty checks the files alone.

    Returns:
        proof: Folder with proof.json, written only when everything held.
        report: Latency, memory, start-up time and golden requests.
    """
    from pathlib import Path

    from components.validate_serving import prove as stage

    predictor = stage.PredictorConfig(public_key=Path(public_key) if public_key else None)
    config = stage.ProofConfig(max_p99_ms=max_p99_ms, max_memory_mb=max_memory_mb, predictor=predictor)
    result = stage.prove(Path(bundle.path), Path(proof.path), config)
    for name, value in result.metrics().items():
        report.log_metric(name, value)
