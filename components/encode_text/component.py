"""KFP component of the export of a text encoder."""

from kfp.dsl import Metrics, Model, Output

from components.image_component import image_component
from components.shared.images import TRAIN_IMAGE


@image_component(TRAIN_IMAGE)
def encode_text(
    encoder: str,
    model: Output[Model],
    summary: Output[Metrics],
    options: dict = {},  # noqa: B006 - KFP takes the default as a constant
):
    """Export a text encoder as ONNX, with which compile_model encodes a catalog and a predictor its queries.

    Args:
        encoder: Folder of a sentence-transformers or ONNX model, or package:NAME of an installed package with one.
        options: Options of components/encode_text/config.py, EncoderOptions; {}: the defaults.

    Returns:
        model: encoder.onnx, tokenizer.json, encoder.json; its path or URI is compile.search.encoder.
        summary: Dimensions, size, agreement with the model.
    """
    from functools import partial
    from pathlib import Path

    from components.encode_text import export
    from components.encode_text.config import EncoderOptions
    from components.shared.progress import report

    read = EncoderOptions.read(options, "options")
    watch = partial(report, export.STAGE)
    for name, value in export.export_encoder(encoder, Path(model.path), read, watch).items():
        summary.log_metric(name, value)
