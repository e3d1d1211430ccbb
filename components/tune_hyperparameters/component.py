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
    retriever_model: Input[Model] = None,  # pyright: ignore[reportArgumentType] - KFP's way to say optional
    size: str = "small",
    seed: int = 0,
    training: dict = {},  # noqa: B006 - KFP takes the default as a constant
    retriever: dict = {},  # noqa: B006
    ranker: dict = {},  # noqa: B006
    tuning: dict = {},  # noqa: B006
    worker: str = "",
    ended: list = [],  # noqa: B006 - KFP takes no None for a list
) -> str:
    """Run trials of a study until its budget is used up, by this worker and others, and report the best so far.

    Args:
        features: Output of build_features.
        model: retriever or ranker.
        retriever_model: Output of train_retriever; only the ranker needs it.
        size: tiny, small or full: the defaults, which are the first trial.
        seed: Of the sampler and of every trial's training.
        training: Options of components/shared/training/launch.py, TrainingOptions.
        retriever: Options that every trial of the retriever begins with.
        ranker: Options that every trial of the ranker begins with.
        tuning: Options of components/tune_hyperparameters/config.py, TuningOptions.
        worker: Name of this worker, distinct among those that run at once.
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
    from components.tune_hyperparameters.config import TuningConfig, TuningOptions

    config = TuningConfig.of(TuningOptions.read(tuning, "tuning"), model, seed, worker, bool(ended))
    learned = Path(retriever_model.path) if retriever_model else None
    sections = {"training": training, "retriever": retriever, "ranker": ranker}
    with models.tunable(model, Path(features.path), learned, size, seed, sections) as found:
        result = stage.tune(found, Path(best.path), Path(report.path), config)
    for name, value in result.metrics.items():
        metrics.log_metric(name, value)
    return result.text
