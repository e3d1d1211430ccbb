"""KFP component of the compile stage."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components.image_component import image_component
from components.shared.images import TRAIN_IMAGE


@image_component(TRAIN_IMAGE)
def compile_model(
    features: Input[Dataset],
    retriever: Input[Model],
    ranker: Input[Model],
    statistics: Input[Artifact],
    compiled: Output[Model],
    summary: Output[Metrics],
    options: dict = {},  # noqa: B006 - KFP takes the default as a constant
):
    """Export to ONNX or native code, quantise, index, and check that the result agrees with the trained models.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        ranker: Output of train_ranker.
        statistics: Output of validate_data, the drift baseline stored in the bundle.
        options: Options of components/compile_model/config.py, CompileOptions; {}: the defaults.

    Returns:
        compiled: All files of a bundle except manifest and signature.
        summary: Sizes before and after, parity, quality, latency.
    """
    from pathlib import Path

    from components.compile_model import compile as stage
    from components.compile_model.config import CompileOptions

    models = (Path(features.path), Path(retriever.path), Path(ranker.path))
    config, out = CompileOptions.read(options, "compile"), Path(compiled.path)
    for name, value in stage.compile_model(*models, Path(statistics.path), out, config).items():
        summary.log_metric(name, value)
