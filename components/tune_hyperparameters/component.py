"""KFP face of the tuning stage: one worker of a study, or the step that closes it."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.shared.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def tune_hyperparameters(
    features: Input[Dataset],
    best: Output[Dataset],
    report: Output[HTML],
    metrics: Output[Metrics],
    model: str,
    size: str,
    retriever: Input[Model] = None,  # pyright: ignore[reportArgumentType] - KFP's way to say optional
    trials: int = 20,
    objective: str = "quality",
    pruning: str = "median",
    seed: int = 0,
    processes: int = 1,
    storage: str = "",
    study: str = "",
    worker: str = "",
    retriever_loss: str = "",
    finalists: int = 3,
    ended: list = [],  # noqa: B006 - KFP takes no None for a list
) -> str:
    """Run trials of a study until its budget is used up, by this worker and others, and tell the best so far.

    Args:
        features: Output of build_features.
        model: retriever or ranker.
        size: tiny, small or full: the defaults, which are the first trial.
        retriever: Output of train_retriever; only the ranker needs it.
        trials: Trials of the whole study, over all workers and restarts.
        objective: quality, or quality-latency (no pruning then).
        pruning: median, asha or none.
        seed: Of the sampler and of every trial's training.
        processes: Training processes of a trial.
        storage: Folder on a lasting volume that all workers see, or a database URL; empty: this step searches alone.
        study: What the study's name begins with, before the model's and a digest of data and defaults.
        worker: Name of this worker, distinct among those that run at once.
        retriever_loss: JSON of what trials of the retriever learn by, as train_retriever takes it; empty: the default.
        finalists: Best trials that the step which closes the study trains again with two other seeds, beyond the
            budget, and the defaults with them; the best mean wins. 0: none.
        ended: Answers of the other workers; when there are any, trials that they left running are lost ones.

    Returns:
        best: hyperparameters.json and trials.parquet.
        report: Page with history, importance, parallel coordinates and the best five.
        metrics: Validation metric of the best and of the defaults.
        Output: hyperparameters.json as a text, which the training stages take.
    """
    from pathlib import Path

    from components.tune_hyperparameters import models
    from components.tune_hyperparameters import tune as stage
    from components.tune_hyperparameters.config import TuningConfig

    config = TuningConfig(
        trials=trials, objective=objective, pruning=pruning, seed=seed, storage=storage,
        study=f"{study}-{model}" if study else model, worker=worker, closing=bool(ended) or not storage,
        finalists=finalists,
    )  # fmt: skip
    learned = Path(retriever.path) if retriever else None
    with models.tunable(model, Path(features.path), learned, size, seed, processes, retriever_loss) as found:
        result = stage.tune(found, Path(best.path), Path(report.path), config)
    for name, value in result.metrics.items():
        metrics.log_metric(name, value)
    return result.text
