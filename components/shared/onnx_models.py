"""The exported models: two ONNX graphs run by onnxruntime, so that serving needs neither torch nor torchrec."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime

from components.shared.storage import read_json


class Models(Protocol):
    """What ranking needs of trained models, exported or not."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the ranker's heads."""
        ...

    def user_vectors(self, ids: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """User vectors, float32 [rows, dim].

        Args:
            ids: int64 [rows, padded user features], the features of the spec side by side.
            weights: float32, same shape.
        """
        ...

    def task_probabilities(
        self, user: tuple[np.ndarray, np.ndarray], item: tuple[np.ndarray, np.ndarray], row: np.ndarray,
        dense: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Probability of each task, float32 [pairs, tasks].

        Args:
            user: ids and weights of the user features, [rows, width].
            item: ids and weights of the item features, [pairs, width].
            row: int64 [pairs], row of the user features that each pair belongs to.
            dense: float32 [pairs, dense features].
        """
        ...


@dataclass(frozen=True)
class OnnxModels:
    """Sessions over the two exported graphs."""

    retriever: onnxruntime.InferenceSession
    ranker: onnxruntime.InferenceSession
    tasks: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> "OnnxModels":
        """Open retriever/user.onnx and ranker/ranker.onnx with `threads` threads each."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1

        def session(path: Path) -> onnxruntime.InferenceSession:
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        tasks = tuple(read_json(folder / "ranker" / "ranker.json")["tasks"])
        return cls(session(folder / "retriever" / "user.onnx"), session(folder / "ranker" / "ranker.onnx"), tasks)

    def user_vectors(self, ids: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """See Models."""
        return np.asarray(self.retriever.run(None, {"ids": ids, "weights": weights})[0])

    def task_probabilities(
        self, user: tuple[np.ndarray, np.ndarray], item: tuple[np.ndarray, np.ndarray], row: np.ndarray,
        dense: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """See Models."""
        if not len(row):
            return np.zeros((0, len(self.tasks)), np.float32)
        inputs = {
            "user_ids": user[0], "user_weights": user[1], "item_ids": item[0], "item_weights": item[1],
            "row": row, "dense": dense,
        }  # fmt: skip
        return np.asarray(self.ranker.run(None, inputs)[0])
