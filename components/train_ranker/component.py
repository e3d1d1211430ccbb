"""KFP component of the ranker stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.image_component import image_component
from components.shared.images import TRAIN_IMAGE


@image_component(TRAIN_IMAGE, passes_task_config=True)
def train_ranker(
    features: Input[Dataset],
    retriever: Input[Model],
    model: Output[Model],
    summary: Output[Metrics],
    task_config: dsl.TaskConfig,
    size: str = "small",
    seed: int = 0,
    training: dict = {},  # noqa: B006 - KFP takes the default as a constant
    ranker: dict = {},  # noqa: B006
    fingerprint: str = "",
):
    """Train the multi-task ranker on retrieved candidates with TorchRec, in this pod or as a TrainJob of several nodes.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        task_config: Settings of the step's pod for the nodes of a TrainJob; filled in by KFP.
        size: tiny, small or full; sets the defaults.
        seed: Seed of initial weights, order and sampling.
        training: Options of components/shared/training/launch.py, TrainingOptions; {}: in this pod.
        ranker: Options of components/train_ranker/config.py, RankerOptions; {}: the defaults.
        fingerprint: Fingerprint of the files that the section names, for KFP's cache; the step does not read it.

    Returns:
        model: Weights (safetensors), shape, candidate sources and learning curves.
        summary: Best validation NDCG@10 and its epoch, also for a teacher.
    """
    from pathlib import Path

    from components.train_ranker import stage

    config = stage.training_for(size, seed, ranker, training, task_config)
    for name, value in stage.run(Path(features.path), Path(retriever.path), Path(model.path), config).items():
        summary.log_metric(name, value)
