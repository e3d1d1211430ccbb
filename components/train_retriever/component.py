"""KFP face of the retriever stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.shared.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def train_retriever(
    features: Input[Dataset],
    model: Output[Model],
    summary: Output[Metrics],
    size: str,
    seed: int = 0,
    processes: int = 1,
    checkpoints: str = "",
):
    """Train the two-tower retriever with TorchRec under torchrun.

    Args:
        features: Output of build_features.
        size: tiny, small or full.
        seed: Of initial weights, order and draws.
        processes: Worker processes in this pod; on a GPU node one a GPU.
        checkpoints: Folder on a lasting volume, so that a retried step resumes; empty: they go with the step.

    Returns:
        model: Weights (safetensors), shape and learning curve.
        summary: Best validation recall and its epoch.
    """
    from pathlib import Path

    from components.shared.sizes import size_named
    from components.train_retriever import train as stage

    config = stage.RetrieverTraining.from_size(size_named(size), seed, processes)
    lasting = Path(checkpoints) / "retriever" if checkpoints else None
    for name, value in stage.train(Path(features.path), Path(model.path), config, lasting).items():
        summary.log_metric(name, value)
