"""The exported models: user tower and ranker as graphs that onnxruntime runs, or native code that torch runs."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from components.shared.errors import BundleError
from components.shared.recommender.onnx_graph import OnnxGraph
from components.shared.recommender.runtime import Runtime, RuntimeRecord
from components.shared.storage import read_json


class Models(Protocol):
    """Interface of trained models for ranking, exported or not."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the ranker's heads."""
        ...

    @property
    def rows_independent(self) -> bool:
        """Whether the results of a row are independent of the other rows in the same call."""
        ...

    def item_inputs(self, ids: np.ndarray, weights: np.ndarray) -> "ItemInputs":
        """What `task_probabilities` takes of items, computed once for a catalog.

        Args:
            ids: int64 [items, padded item features], the spec's features concatenated.
            weights: float32, same shape.
        """
        ...

    def user_vectors(self, ids: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """User vectors, float32 [rows, dim].

        Args:
            ids: int64 [rows, padded user features], the spec's features concatenated.
            weights: float32, same shape.
        """
        ...

    def task_probabilities(
        self, user: tuple[np.ndarray, np.ndarray], item: "ItemInputs", row: np.ndarray, dense: np.ndarray
    ) -> np.ndarray:
        """Probability of each task, float32 [pairs, tasks].

        Args:
            user: ids and weights of the user features, [rows, width].
            item: rows of `item_inputs`, or ids and weights of the item features, [pairs, width].
            row: int64 [pairs], row of the user features that each pair belongs to.
            dense: float32 [pairs, dense features].
        """
        ...


ItemInputs = tuple[np.ndarray, ...]
"""Arrays with one row per item: ids and weights, or vectors."""
RANKER_ITEMS = "item.onnx"
"""The part of an ONNX ranker that reads the item, in the folder of the ranker."""
_VECTORS_UP_TO = 1_000_000
"""Catalogs up to this many items have the vectors of all items in memory, some hundred bytes each."""
_PART = 8_192


class Graph(Protocol):
    """An exported module with one output; may be called from several threads at once."""

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Return the output, float32.

        Args:
            inputs: In the order of the exported module.
        """
        ...


@dataclass(frozen=True)
class ExportedModels:
    """Both graphs of a compiled model or bundle; see Models."""

    retriever: Graph
    ranker: Graph
    tasks: tuple[str, ...]
    runtime: Runtime = "onnxruntime"
    """Runtime of the graphs."""
    items: Graph | None = None
    """The part of the ranker that reads the item, if it is a graph of its own."""
    rows_independent: bool = True
    """See Models; False for int8 dense layers, which scale their inputs by the largest one in the call."""

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> "ExportedModels":
        """Open both graphs in the runtime that they were compiled for, with `threads` threads per call.

        Raises:
            BundleError: a graph cannot be loaded, or is native code for another machine or torch release.
        """
        record = RuntimeRecord.read(folder)
        retriever, ranker = (_graph(path, threads, record) for path in record.graphs(folder))
        facts = read_json(folder / "ranker" / "ranker.json")
        independent, part = facts.get("dense_precision") != "int8", folder / "ranker" / RANKER_ITEMS
        items = OnnxGraph(part, threads) if part.exists() else None
        return cls(retriever, ranker, tuple(facts["tasks"]), record.name, items, independent)

    def user_vectors(self, ids: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """See Models."""
        return self.retriever(ids, weights)

    def item_inputs(self, ids: np.ndarray, weights: np.ndarray) -> ItemInputs:
        """See Models."""
        if self.items is None or len(ids) > _VECTORS_UP_TO:
            return ids, weights
        starts = range(0, len(ids), _PART)
        return (np.concatenate([self.items(ids[at : at + _PART], weights[at : at + _PART]) for at in starts]),)

    def task_probabilities(
        self, user: tuple[np.ndarray, np.ndarray], item: ItemInputs, row: np.ndarray, dense: np.ndarray
    ) -> np.ndarray:
        """See Models."""
        if not len(row):
            return np.zeros((0, len(self.tasks)), np.float32)
        if self.items is not None and len(item) > 1:
            item = (self.items(*item),)
        return self.ranker(*user, *item, row, dense)


def _graph(path: Path, threads: int, record: RuntimeRecord) -> Graph:
    if record.name == "onnxruntime":
        return OnnxGraph(path, threads)
    if importlib.util.find_spec("torch") is None:
        raise BundleError(
            f"{path} is native code that torch runs, and torch is not installed",
            "serve it with the predictor image, or compile the model again with runtime=onnxruntime",
        )
    # Imported here, because only these graphs need torch.
    from components.shared.recommender.aoti_graph import AotiGraph, check_host

    check_host(record, path)
    return AotiGraph(path, threads)
