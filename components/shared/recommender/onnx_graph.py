"""An ONNX graph, run by onnxruntime on the CPU."""

from pathlib import Path

import numpy as np
import onnxruntime


class OnnxGraph:
    """See exported_models.Graph.

    Args:
        path: ONNX file with one output.
        threads: Threads per call.
    """

    def __init__(self, path: Path, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._names = [one.name for one in self._session.get_inputs()]

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Run the graph."""
        return np.asarray(self._session.run(None, dict(zip(self._names, inputs, strict=True)))[0])
