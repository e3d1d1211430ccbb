"""One graph that AOTInductor compiled to native code, run by torch.

Imports torch and is itself imported only for bundles that hold such graphs: those of onnxruntime are served without.
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
    """Release of torch without the build's suffix: 2.13.0 of 2.13.0+cpu."""
    return torch.__version__.partition("+")[0]


def cpu_flags() -> frozenset[str]:
    """Instruction sets of this processor by their names in Linux."""
    lines = _CPU_FLAGS.read_text(encoding="ascii", errors="replace").splitlines()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))


def check_host(record: RuntimeRecord, path: Path) -> None:
    """Check that native code fits this torch version and CPU; otherwise it could crash or give wrong results.

    Raises:
        BundleError: names what differs.
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

    torch's threads are the whole process's; the first call sets them. Calls of one graph run one after the other: torch
    keeps Python's lock while native code runs, so several runners would win nothing.

    Args:
        path: Package that `aoti_compile_and_package` wrote, with one output.
        threads: Of one matrix product; the generated loops between them run in one thread.

    Raises:
        BundleError: it cannot be loaded.
    """

    def __init__(self, path: Path, threads: int = 1):
        self._threads = threads
        # Required to avoid a deadlock: a call briefly releases the GIL while freeing inputs, and the next call would
        # then wait for a runner while holding the GIL.
        self._turn = threading.Lock()
        try:
            # What torch._inductor.aoti_load_package wraps: it would import all of inductor (80 MB) and read the form of
            # inputs and outputs anew in every call (80 us), of which an exported graph has only one.
            native = torch._C._aoti  # pyright: ignore[reportAttributeAccessIssue]
            self._program = native.AOTIModelPackageLoader(str(path), "model", False, 1, -1)
        except RuntimeError as error:
            raise BundleError(
                f"{path} cannot be loaded: {str(error).splitlines()[0]}",
                "make /tmp writable and executable with enough space, or compile the model again",
            ) from error

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Run the graph; integers are handed over as int64 and all else as float32."""
        tensors = [_tensor(values) for values in inputs]
        with self._turn:
            if torch.get_num_threads() != self._threads:
                torch.set_num_threads(self._threads)
            return self._program.boxed_run(tensors)[0].numpy()


def _tensor(values: np.ndarray) -> torch.Tensor:
    """A row-major tensor: native code believes its inputs to be so and does not look."""
    dtype = np.int64 if values.dtype.kind in "iu" else np.float32
    return torch.from_numpy(np.require(values, dtype, ["C", "W"]))
