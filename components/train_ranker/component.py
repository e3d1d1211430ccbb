"""KFP face of the ranker stage."""

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
def train_ranker(
    features: Input[Dataset],
    retriever: Input[Model],
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
    architecture: str = "",
    hot_candidates: int = 0,
    optimizer: str = "",
    inference_log: str = "",
    refit: bool = True,
    teacher: str = "",
):
    """Train the multi-task ranker on retrieved candidates with TorchRec, in this pod or as a TrainJob of several nodes.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
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
        architecture: JSON of interaction, heads, attention (null: none) and places (these need inference_log); what it
            does not name is what tuning found, or the default.
        hot_candidates: Items of the highest time-decayed popularity among the candidates, in training and in serving.
        optimizer: JSON of some of rule, embedding_lr, dense_lr, precision, sharding, schedule, compile, overlap; wins
            over what tuning found; empty: none.
        inference_log: Folder of the predictors' logs, which say where shown items stood, for an architecture with
            places; empty: unknown.
        refit: Whether the final model is trained anew on the validation window too, for as many epochs as were best on
            it; takes about as long again.
        teacher: JSON of a larger ranker that is trained first and whose word the labels carry: some of embedding_dim,
            hidden_dim, architecture and share of a label; {}: twice and four times as wide, half of it; empty: none.

    Returns:
        model: Weights (safetensors), shape, candidate sources and learning curves.
        summary: Best validation NDCG@10 and its epoch, the teacher's too.
    """
    import dataclasses
    from pathlib import Path

    from components.shared.schema.sizes import size_named
    from components.shared.training.launch import LaunchConfig, PodSettings
    from components.train_ranker import teacher as stage
    from components.train_ranker.space import configured
    from components.train_ranker.train import RankerTraining

    how = LaunchConfig(
        launch=launch, nodes=nodes, processes=processes, exchange=exchange, node_gpus=node_gpus,
        pod=PodSettings.of(dataclasses.asdict(task_config)),
    )  # fmt: skip
    dial = RankerTraining.from_size(size_named(size), seed, processes)
    config = configured(dial, hyperparameters, architecture, optimizer, hot_candidates)
    lasting = Path(checkpoints) / "ranker" if checkpoints else None
    for name, value in stage.train_ranker(
        Path(features.path), Path(retriever.path), Path(model.path),
        dataclasses.replace(config, launch=how, refit=refit), teacher, lasting, inference_log,
    ).items():  # fmt: skip
        summary.log_metric(name, value)
