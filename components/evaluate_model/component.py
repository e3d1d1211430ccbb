"""KFP component of the evaluation stage."""

from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from components.image_component import image_component
from components.shared.images import TRAIN_IMAGE


@image_component(TRAIN_IMAGE)
def evaluate_model(
    features: Input[Dataset],
    retriever: Input[Model],
    ranker: Input[Model],
    evaluation: Output[Artifact],
    report: Output[HTML],
    metrics: Output[Metrics],
    classification: Output[ClassificationMetrics],
    registry: str = "",
    model_name: str = "",
    public_key: str = "",
    size: str = "small",
    options: dict = {},  # noqa: B006 - KFP takes the default as a constant
) -> bool:
    """Compare a trained model with baselines and the champion on the test window and apply the release gates.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        ranker: Output of train_ranker.
        registry: Folder or s3:// URI of the registry with the champion; empty: no champion.
        model_name: Name in the registry.
        public_key: Public key to verify the champion; without one, native code is not run.
        size: tiny, small or full; sets the number of bootstrap resamples.
        options: Options of components/evaluate_model/config.py, EvaluationOptions; {}: the defaults.

    Returns:
        evaluation: decision.json, metrics.json and lists.parquet.
        report: Page with the comparison and the decision.
        metrics: Every figure of the model.
        classification: ROC curve and confusion matrix of the ranker.
        Output: Whether the model passed the release gates.
    """
    from pathlib import Path

    from components.evaluate_model import evaluate as stage
    from components.evaluate_model.config import EvaluationOptions
    from components.shared.schema.sizes import size_named

    inputs = (Path(features.path), Path(retriever.path), Path(ranker.path))
    outputs = (Path(evaluation.path), Path(report.path))
    decision = stage.evaluate(
        *inputs,
        *outputs,
        EvaluationOptions.for_size(size_named(size), options),
        stage.champion_of(registry, model_name),
        public_key,
    )
    for name, value in decision.metrics.items():
        metrics.log_metric(name, value)
    classification.log_roc_curve(*stage.roc_points(outputs[0]))
    classification.log_confusion_matrix(["not wanted", "wanted"], stage.confusion_matrix(outputs[0]))
    return decision.blessed
