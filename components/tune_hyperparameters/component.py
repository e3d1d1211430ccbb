"""KFP component of the tuning stage: one worker of a study, or the step that finishes it."""

from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.image_component import image_component
from components.shared.images import TRAIN_IMAGE


@image_component(TRAIN_IMAGE)
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
    """Run trials of a study until the shared budget is used up, and report the best result.

    Args:
        features: Output of build_features.
        model: retriever or ranker.
        retriever_model: Output of train_retriever; only the ranker needs it.
        size: tiny, small or full; sets the defaults, which are the first trial.
        seed: Seed of the sampler and of the training of every trial.
        training: Options of components/shared/training/launch.py, TrainingOptions.
        retriever: Options of the retriever that the search does not change.
        ranker: Options of the ranker that the search does not change.
        tuning: Options of components/tune_hyperparameters/config.py, TuningOptions.
        worker: Unique name of this worker among concurrent workers.
        ended: Results of the other workers; if given, their unfinished trials are treated as lost.

    Returns:
        best: hyperparameters.json and trials.parquet.
        report: Page with history, importance, parallel coordinates and the best five.
        metrics: Validation metric of the best and of the defaults.
        Output: hyperparameters.json as a string for the training stages.
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
