"""The tuning pipeline: workers share a study of the retriever, then of the ranker on top of the best retriever.

What it finds is a text that the training pipeline takes (retriever_hyperparameters, ranker_hyperparameters).
"""

# KFP turns annotated functions into task factories at import; a type checker still sees the functions.
# pyright: reportCallIssue=false, reportArgumentType=false

from typing import Any

from kfp import dsl

from components.train_retriever.component import train_retriever
from components.tune_hyperparameters.component import tune_hyperparameters
from pipelines import resources
from pipelines.preparation import prepare
from pipelines.resources import REGISTRY_MOUNT, apply


def _searched(search: dict[str, Any], workers: Any, gpus: Any) -> Any:
    """Workers that share a study, then one step that takes over what lost ones left; its answer is the best."""
    with dsl.ParallelFor(items=workers) as worker:
        one = apply(tune_hyperparameters(**search, worker=worker), resources.TUNE, gpus)
    last = tune_hyperparameters(**search, worker="last", ended=dsl.Collected(one.outputs["Output"]))
    return apply(last, resources.TUNE, gpus).outputs["Output"]


@dsl.pipeline(
    name="shoprank-tuning",
    description="Search for the hyper-parameters of retriever and ranker with workers that share a study.",
    display_name="shoprank: tuning",
)
def tuning(
    source: str = "complete-journey",
    size: str = "small",
    mapping: str = "",
    items_source: str = "",
    users_source: str = "",
    previous_statistics: str = "",
    item_hash_rows: int = 0,
    item_rows: int = 0,
    user_rows: int = 0,
    seed: int = 0,
    processes: int = 1,
    gpus: int = 1,
    loss: str = "",
    retriever_trials: int = 20,
    ranker_trials: int = 20,
    objective: str = "quality",
    pruning: str = "median",
    finalists: int = 3,
    workers: list = ["worker-0", "worker-1"],  # noqa: B006 - KFP takes the default as a constant
    storage: str = f"{REGISTRY_MOUNT}/tuning",
    study: str = "shop",
):
    """Compose the stages; a run that failed goes on where its studies stand when it is started again.

    Args:
        source: `complete-journey`, or a file, folder or URI of events in Parquet, CSV or JSON Lines.
        size: tiny, small or full: the defaults, which are each study's first trial.
        mapping: JSON of {our column: their column}; empty: the columns have our names.
        items_source: Catalog; empty: the items that the events name.
        users_source: Users; empty: the users that the events name.
        previous_statistics: Statistics of an earlier run to compare sizes with; empty: none.
        item_hash_rows: Rows that items beyond the vocabulary share by the hash of their id; 0: they are unknown.
        item_rows: At most this many items have an embedding row of their own, those seen most and latest; 0: all.
        user_rows: The same of shoppers.
        seed: Of the sampler and of every trial's training.
        processes: Training processes of a trial.
        gpus: GPUs of a worker's pod.
        loss: JSON of what the retriever learns by in every trial, as in training; empty: the default.
        retriever_trials: Trials of the retriever's study, over all workers; 1: the defaults alone.
        ranker_trials: Trials of the ranker's study, over all workers; 1: the defaults alone.
        objective: quality, or quality-latency (then nothing is pruned).
        pruning: median, asha or none.
        finalists: Best trials of each study that are trained again with two other seeds, beyond the budget, and the
            defaults with them; the best mean wins. 0: none.
        workers: Their names; one pod each.
        storage: Folder of a volume that all workers see, or a database URL.
        study: What the names of the studies begin with.
    """
    rows = {"item_hash_rows": item_hash_rows, "item_rows": item_rows, "user_rows": user_rows}
    features, _ = prepare(source, size, mapping, items_source, users_source, previous_statistics, rows)
    search = {
        "features": features, "size": size, "objective": objective, "pruning": pruning, "seed": seed,
        "processes": processes, "storage": storage, "study": study, "finalists": finalists,
    }  # fmt: skip
    found = _searched(
        {**search, "model": "retriever", "retriever_loss": loss, "trials": retriever_trials}, workers, gpus
    )
    retriever = apply(
        train_retriever(features=features, size=size, seed=seed, processes=processes, hyperparameters=found, loss=loss),
        resources.TRAIN, gpus,
    ).outputs["model"]  # fmt: skip
    _searched({**search, "model": "ranker", "retriever": retriever, "trials": ranker_trials}, workers, gpus)
