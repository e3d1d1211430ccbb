"""KFP face of the compile stage."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components.shared.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def compile_model(
    features: Input[Dataset],
    retriever: Input[Model],
    ranker: Input[Model],
    statistics: Input[Artifact],
    compiled: Output[Model],
    summary: Output[Metrics],
    precision: str = "int8",
    dense_precision: str = "fp32",
    prune: bool = False,
    runtime: str = "onnxruntime",
    limits: str = "",
):
    """Export to ONNX or native code, quantise, index, and refuse a result that does not answer like the trained models.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        ranker: Output of train_ranker.
        statistics: Output of validate_data, the drift baseline that travels with the model.
        precision: Embedding rows as fp32, fp16, int8 or int4.
        dense_precision: Dense layers as fp32 or int8.
        prune: Whether embedding rows that training never touched are left out.
        runtime: What serves the graphs: onnxruntime, or aotinductor (native code for this step's kind of processor).
        limits: JSON of what compression may lose where that is not the default: some of max_probability_difference,
            min_rank_overlap, max_ndcg_loss and min_index_recall, shares from 0 to 1, and shoppers, how many are asked.

    Returns:
        compiled: Everything a bundle needs but its manifest and signature.
        summary: Sizes before and after, parity, quality, latency.
    """
    from pathlib import Path

    from components.compile_model import compile as stage
    from components.compile_model.config import config_for

    models = (Path(features.path), Path(retriever.path), Path(ranker.path))
    config, out = config_for(precision, dense_precision, prune, runtime, limits), Path(compiled.path)
    for name, value in stage.compile_model(*models, Path(statistics.path), out, config).items():
        summary.log_metric(name, value)
