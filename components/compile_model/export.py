"""Export of the trained towers and the ranker by torch.export to ONNX, one self-contained file per graph."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn
from torch.export import Dim

from components.compile_model.config import TableFormat
from components.compile_model.flat import FlatItemTower, FlatRanker, FlatUserTower, TrainedRows
from components.shared.features.columns import DenseInput
from components.shared.models.ranker import Ranker
from components.shared.models.retriever import Retriever
from components.shared.recommender.exported_models import RANKER_ITEMS

Inputs = dict[str, tuple[torch.Tensor, dict[int, Dim]]]
"""Name of each input, in the order of `forward`, with an example and its dynamic dimensions."""
Exporter = Callable[[nn.Module, Path, Inputs], None]
"""Writes a module with one output as one file: export_onnx or aoti.export_aoti."""


def export_user_tower(
    retriever: Retriever, path: Path, form: TableFormat, trained: TrainedRows | None = None,
    vectors: torch.Tensor | None = None, export: Exporter | None = None,
) -> int:  # fmt: skip
    """Write the user tower: ids [B, W] and weights [B, W] to vectors [B, D].

    Args:
        retriever: The trained retriever.
        path: File to write.
        form: How embedding rows are stored.
        trained: Mask of the trained rows; None: all.
        vectors: Item vectors of the catalog [items, D], which a sequence encoder reads.
        export: Writes the file; None: export_onnx.

    Returns:
        Number of dropped rows.
    """
    width = sum(feature.max_length for feature in retriever.config.user_features)
    batch = Dim("batch", min=1, max=65_536)
    tower = FlatUserTower(retriever, form, trained, vectors)
    (export or export_onnx)(
        tower, path,
        {"ids": (torch.zeros(2, width, dtype=torch.int64), {0: batch}),
         "weights": (torch.zeros(2, width), {0: batch})},
    )  # fmt: skip
    return tower.table.pruned


def export_item_tower(retriever: Retriever, path: Path, form: TableFormat) -> None:
    """Write the item tower: ids [N, W] and weights [N, W] to vectors and biases side by side, [N, D + 1].

    If the tower reads content vectors, there is a third input, 'content' [N, content_dim + 1].

    The predictor does not load it; refresh_catalog computes the vectors of new items with it.
    """
    width = sum(feature.max_length for feature in retriever.config.item_features)
    items = Dim("items", min=1, max=65_536)
    inputs: Inputs = {"ids": (torch.zeros(2, width, dtype=torch.int64), {0: items}),
                      "weights": (torch.zeros(2, width), {0: items})}  # fmt: skip
    if retriever.config.content_dim:
        inputs["content"] = (torch.zeros(2, retriever.config.content_dim + 1), {0: items})
    export_onnx(FlatItemTower(retriever, form), path, inputs)


def export_ranker(
    ranker: Ranker, query_width: int, path: Path, form: TableFormat, trained: TrainedRows | None = None,
    export: Exporter | None = None,
) -> int:  # fmt: skip
    """Write the ranker; the numbers of shoppers [S] and pairs [P] are dynamic.

    As ONNX it is two graphs: what it reads of an item, `item.onnx` beside `path`, of which the predictor computes the
    vectors of the whole catalog once, and the rest, which takes vectors [P, E] instead of ids and weights of items.

    Args:
        ranker: The trained ranker.
        query_width: Columns of the query, which callers pass but the ranker does not read.
        path: File to write.
        form: How embedding rows are stored.
        trained: Mask of the trained rows; None: all.
        export: Writes the file; None: export_onnx.

    Returns:
        Number of dropped rows.
    """
    user = query_width + sum(feature.max_length for feature in ranker.config.user_features)
    item = sum(feature.max_length for feature in ranker.config.item_features)
    shoppers, pairs = Dim("shoppers", min=1, max=65_536), Dim("pairs", min=1, max=16_777_216)
    flat = FlatRanker(ranker, form, trained)
    of_user: Inputs = {"user_ids": (torch.zeros(2, user, dtype=torch.int64), {0: shoppers}),
                       "user_weights": (torch.zeros(2, user), {0: shoppers})}  # fmt: skip
    of_item: Inputs = {"item_ids": (torch.zeros(3, item, dtype=torch.int64), {0: pairs}),
                       "item_weights": (torch.zeros(3, item), {0: pairs})}  # fmt: skip
    of_pair: Inputs = {"row": (torch.tensor([0, 0, 1]), {0: pairs}),
                       "dense": (torch.zeros(3, len(DenseInput)), {0: pairs})}  # fmt: skip
    if export is not None and export is not export_onnx:
        export(flat, path, {**of_user, **of_item, **of_pair})
        return flat.pruned
    with torch.inference_mode():
        vectors = flat.items(*(example for example, _ in of_item.values()))
    export_onnx(flat.items, path.with_name(RANKER_ITEMS), of_item)
    export_onnx(flat.pairs, path, {**of_user, "item_vectors": (torch.zeros(vectors.shape), {0: pairs}), **of_pair})
    return flat.pruned


def quantise_dense(path: Path) -> None:
    """Quantise the dense layers of a file in place: int8 weights and products, with dynamically scaled inputs.

    Source: onnxruntime's dynamic quantisation; tables and products of two inputs stay as they are.
    """
    model = onnx.load(path)
    # Shapes recorded at export contradict those of the quantised graph (ShapeInferenceError).
    del model.graph.value_info[:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        logging.getLogger().addFilter(_no_preprocessing_hint)
        try:
            quantize_dynamic(model, path, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8)
        finally:
            logging.getLogger().removeFilter(_no_preprocessing_hint)


def _no_preprocessing_hint(record: logging.LogRecord) -> bool:
    return "run pre-processing before quantization" not in record.getMessage()


def export_onnx(module: nn.Module, path: Path, inputs: Inputs) -> None:
    """Write any module with one output tensor, named 'out', as one self-contained ONNX file.

    Args:
        module: Module that returns one tensor.
        path: File to write.
        inputs: See Inputs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # onnxscript and torch.export deprecate parts of each other; nothing here calls the deprecated names.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        # Inputs that share a dimension, as intended here, can name it only once in the graph.
        warnings.filterwarnings("ignore", message=".*The axis name: .* will not be used", category=UserWarning)
        # No gradients: tracing a recurrent layer as a loop warns about every tensor that could have one.
        program = torch.onnx.export(
            module.eval().requires_grad_(False), tuple(tensor for tensor, _ in inputs.values()), dynamo=True,
            verbose=False, input_names=list(inputs), output_names=["out"],
            dynamic_shapes=tuple(shape for _, shape in inputs.values()), external_data=False,
        )  # fmt: skip
    assert program is not None
    program.save(path, external_data=False)
