"""The tuning pipeline: workers share a study of the retriever, then of the ranker on top of the best retriever.

Its result is a string for retriever.hyperparameters and ranker.hyperparameters of the training pipeline.
"""

# KFP turns annotated functions into task factories at import; a type checker still sees the functions.
# pyright: reportCallIssue=false, reportArgumentType=false

from typing import Any

from kfp import dsl

from components.check_parameters.component import check_parameters
from components.train_retriever.component import train_retriever
from components.tune_hyperparameters.component import tune_hyperparameters
from pipelines import resources
from pipelines.preparation import prepare
from pipelines.resources import OWN, apply


def _searched(search: dict[str, Any], workers: Any, own: dict[str, Any]) -> Any:
    """Workers that share a study, then one step that completes unfinished trials and returns the best result."""
    with dsl.ParallelFor(items=workers) as worker:
        one = apply(tune_hyperparameters(**search, worker=worker), resources.TUNE, own)
    last = tune_hyperparameters(**search, worker="last", ended=dsl.Collected(one.outputs["Output"]))
    return apply(last, resources.TUNE, own).outputs["Output"]


@dsl.pipeline(
    name="shoprank-tuning",
    description="Search for the hyperparameters of retriever and ranker with workers that share a study.",
    display_name="shoprank: tuning",
)
def tuning(
    source: str = "complete-journey",
    size: str = "small",
    seed: int = 0,
    gpus: str = OWN.gpus,
    cpu: str = OWN.cpu,
    memory: str = OWN.memory,
    workers: list = ["worker-0", "worker-1"],  # noqa: B006 - KFP takes the default as a constant
    data: dict = {},  # noqa: B006
    features: dict = {},  # noqa: B006
    retriever: dict = {},  # noqa: B006
    ranker: dict = {},  # noqa: B006
    training: dict = {},  # noqa: B006
    tuning: dict = {},  # noqa: B006
):
    """Search for hyperparameters; a restarted run resumes its studies.

    Every section is described by `shoprank config` and its JSON Schema; {} means the defaults of the size.

    Args:
        source: `complete-journey`, or a file, folder, URI or glob of events in Parquet, CSV or JSON.
        size: tiny, small or full; sets the defaults, which are each study's first trial.
        seed: Seed of the sampler and of the training of every trial.
        gpus: GPUs of a worker's pod, as a string.
        cpu: CPUs of a worker's pod.
        memory: Memory of a worker's pod.
        workers: Names of the workers; one pod each.
        data: Tables and column names.
        features: Cleaning, vocabularies, interests, sequences.
        retriever: Options of the retriever that the search does not change.
        ranker: Options of the ranker that the search does not change.
        training: Training of the trials: processes, nodes, checkpoints.
        tuning: Budget, objective, pruning, finalists, storage.
    """
    sections = {"training": training, "retriever": retriever, "ranker": ranker, "tuning": tuning}
    own = {"gpus": gpus, "cpu": cpu, "memory": memory}
    task = check_parameters(size=size, seed=seed, **own, source=source, data=data, features=features, **sections)
    checked = apply(task, resources.CHECK)
    built, _ = prepare(source, size, data, features, checked)
    search = {"features": built, "size": size, "seed": seed, **sections}
    found = _searched({**search, "model": "retriever"}, workers, own)
    task = train_retriever(
        features=built, size=size, seed=seed, training=training, retriever=retriever, hyperparameters=found,
        fingerprint=checked.outputs["train_retriever"],
    )  # fmt: skip
    best = apply(task, resources.TRAIN, own).outputs["model"]
    _searched({**search, "model": "ranker", "retriever_model": best}, workers, own)
