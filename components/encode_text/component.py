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
    from pathlib import Path

    from components.encode_text.config import EncoderOptions
    from components.encode_text.export import export_encoder

    read = EncoderOptions.read(options, "options")
    for name, value in export_encoder(encoder, Path(model.path), read).items():
        summary.log_metric(name, value)
