"""KFP face of the retriever stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.shared.images import TRAIN_IMAGE


@dsl.component(
    base_image=TRAIN_IMAGE,
    install_kfp_package=False,
    # The step's own pod needs them too: with launch=process it trains, else it prepares and waits.
    task_config_passthroughs=[
        dsl.TaskConfigPassthrough(field=field, apply_to_task=True)
        for field in (
            dsl.TaskConfigField.RESOURCES,
            dsl.TaskConfigField.ENV,
            dsl.TaskConfigField.KUBERNETES_TOLERATIONS,
            dsl.TaskConfigField.KUBERNETES_NODE_SELECTOR,
            dsl.TaskConfigField.KUBERNETES_AFFINITY,
            dsl.TaskConfigField.KUBERNETES_VOLUMES,
        )
    ],
)
def train_retriever(
    features: Input[Dataset],
    model: Output[Model],
    summary: Output[Metrics],
    task_config: dsl.TaskConfig,
    size: str,
    seed: int = 0,
    processes: int = 1,
    checkpoints: str = "",
    launch: str = "process",
    nodes: int = 1,
    exchange: str = "",
    node_gpus: int = 0,
    hyperparameters: str = "",
    encoder: str = "",
    loss: str = "",
    optimizer: str = "",
):
    """Train the two-tower retriever with TorchRec, in this pod or as a TrainJob of several nodes.

    Args:
        features: Output of build_features.
        task_config: What KFP gave the step's pod, for the nodes of a TrainJob; KFP fills it in.
        size: tiny, small or full.
        seed: Of initial weights, order and draws.
        processes: Worker processes of a node; on a GPU node one a GPU.
        checkpoints: Folder on a lasting volume, so that a retried step resumes; empty: they go with the step.
        launch: process (torchrun in this pod) or trainjob (Kubeflow Trainer, several nodes).
        nodes: Nodes of a TrainJob.
        exchange: Folder that step and nodes share: a path on a volume of the step, or s3://bucket/prefix.
        node_gpus: GPUs of a TrainJob's node; 0: as many as the step's pod has.
        hyperparameters: What tuning found: its JSON, or the file or folder of hyperparameters.json; empty: nothing.
        encoder: JSON of the sequence encoder, such as {"kind": "GruConfig", "hidden_dim": 64}, which wins over what
            tuning found; null: none; empty: what tuning found, or none.
        loss: JSON of what it learns by, such as {"kind": "Bpr", "source": {"kind": "Hard", "count": 4}}, or
            {"kind": "Mse"} for events with ratings; empty: softmax over the batch's targets with log-Q.
        optimizer: JSON of some of rule, embedding_lr, dense_lr, precision, sharding, schedule, compile, overlap; wins
            over what tuning found; empty: none.

    Returns:
        model: Weights (safetensors), shape and learning curve.
        summary: Best validation recall and its epoch.
    """
    import dataclasses
    from pathlib import Path

    from components.shared.schema.sizes import size_named
    from components.shared.training.launch import LaunchConfig, PodSettings
    from components.train_retriever import train as stage
    from components.train_retriever.space import configured

    how = LaunchConfig(
        launch=launch, nodes=nodes, processes=processes, exchange=exchange, node_gpus=node_gpus,
        pod=PodSettings.of(dataclasses.asdict(task_config)),
    )  # fmt: skip
    dial = stage.RetrieverTraining.from_size(size_named(size), seed, processes)
    config = dataclasses.replace(configured(dial, hyperparameters, encoder, loss, optimizer), launch=how)
    lasting = Path(checkpoints) / "retriever" if checkpoints else None
    for name, value in stage.train(Path(features.path), Path(model.path), config, lasting).items():
        summary.log_metric(name, value)
