"""KFP face of the ranker stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.shared.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def train_ranker(
    features: Input[Dataset],
    retriever: Input[Model],
    model: Output[Model],
    summary: Output[Metrics],
    size: str,
    seed: int = 0,
    processes: int = 1,
    checkpoints: str = "",
):
    """Train the multi-task ranker on retrieved candidates with TorchRec under torchrun.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        size: tiny, small or full.
        seed: Of initial weights, order and draws.
        processes: Worker processes in this pod; on a GPU node one a GPU.
        checkpoints: Folder on a lasting volume, so that a retried step resumes; empty: they go with the step.

    Returns:
        model: Weights (safetensors), shape, candidate sources and learning curve.
        summary: Best validation AUC and its epoch.
    """
    from pathlib import Path

    from components.shared.sizes import size_named
    from components.train_ranker import train as stage

    config = stage.RankerTraining.from_size(size_named(size), seed, processes)
    lasting = Path(checkpoints) / "ranker" if checkpoints else None
    result = stage.train(Path(features.path), Path(retriever.path), Path(model.path), config, lasting)
    for name, value in result.items():
        summary.log_metric(name, value)
