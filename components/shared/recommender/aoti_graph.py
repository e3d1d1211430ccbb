"""A graph compiled to native code by AOTInductor and run by torch.

This module imports torch and is only imported for bundles with such graphs; other bundles are served without torch.
"""

import platform
import threading
from pathlib import Path

import numpy as np
import torch

from components.shared.errors import BundleError
from components.shared.recommender.runtime import RuntimeRecord

_CPU_FLAGS = Path("/proc/cpuinfo")
_ELSEWHERE = "serve it on a machine with them, or compile the model again with runtime=onnxruntime, which runs anywhere"


def torch_release() -> str:
    """Torch release without the build suffix: 2.13.0 for 2.13.0+cpu."""
    return torch.__version__.partition("+")[0]


def cpu_flags() -> frozenset[str]:
    """Instruction sets of this processor, by their names in /proc/cpuinfo."""
    lines = _CPU_FLAGS.read_text(encoding="ascii", errors="replace").splitlines()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))


def check_host(record: RuntimeRecord, path: Path) -> None:
    """Check that native code fits this torch version and CPU; otherwise it could crash or give wrong results.

    Raises:
        BundleError: the torch release, the architecture or an instruction set does not match.
    """
    if record.torch != torch_release():
        raise BundleError(
            f"{path} was compiled with torch {record.torch}, but torch {torch_release()} is installed",
            "serve it with the image of the version that compiled it, or compile the model again",
        )
    if record.machine != platform.machine():
        raise BundleError(
            f"{path} is native code for {record.machine}, but this machine is {platform.machine()}", _ELSEWHERE
        )
    if missing := sorted(set(record.cpu) - cpu_flags()):
        raise BundleError(f"{path} needs {', '.join(missing)}, which this CPU does not support", _ELSEWHERE)


class AotiGraph:
    """See exported_models.Graph.

    The number of torch threads is process-wide and set on the first call. Calls of one graph are serialised: torch
    holds the GIL while native code runs, so several runners would not be faster.

    Args:
        path: Package written by `aoti_compile_and_package`, with one output.
        threads: Threads per matrix product; the generated loops between the products run in one thread.

    Raises:
        BundleError: the package cannot be loaded.
    """

    def __init__(self, path: Path, threads: int = 1):
        self._threads = threads
        # Required to avoid a deadlock: a call briefly releases the GIL while freeing inputs, and the next call would
        # then wait for a runner while holding the GIL.
        self._turn = threading.Lock()
        try:
            # The loader wrapped by torch._inductor.aoti_load_package, which would import all of inductor (80 MB) and
            # parse the structure of inputs and outputs in every call (80 us), although a graph has only one.
            native = torch._C._aoti  # pyright: ignore[reportAttributeAccessIssue]
            self._program = native.AOTIModelPackageLoader(str(path), "model", False, 1, -1)
        except RuntimeError as error:
            raise BundleError(
                f"{path} cannot be loaded: {str(error).splitlines()[0]}",
                "make /tmp writable and executable with enough space, or compile the model again",
            ) from error

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Run the graph; integer inputs are converted to int64, all others to float32."""
        tensors = [_tensor(values) for values in inputs]
        with self._turn:
            if torch.get_num_threads() != self._threads:
                torch.set_num_threads(self._threads)
            return self._program.boxed_run(tensors)[0].numpy()


def _tensor(values: np.ndarray) -> torch.Tensor:
    """Convert to a row-major tensor; native code assumes this layout without checking it."""
    dtype = np.int64 if values.dtype.kind in "iu" else np.float32
    return torch.from_numpy(np.require(values, dtype, ["C", "W"]))
