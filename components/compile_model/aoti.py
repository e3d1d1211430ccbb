"""Export by torch.export and AOTInductor: native code with weights, one package per graph.

The code uses only the instruction sets named here, whatever processor compiles it.
"""

import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch._inductor.exc import CppCompileError, InductorError

from components.compile_model.export import Inputs
from components.shared.errors import DataError, InputError
from components.shared.recommender.aoti_graph import cpu_flags, torch_release
from components.shared.recommender.runtime import RuntimeRecord
from components.shared.training.cpp_compiler import require_cpp_compiler

_MACHINE, _CPU = "x86_64", ("avx2", "f16c", "fma")
"""Intel since Haswell (2013), AMD since Excavator (2015): instruction sets common to the nodes of a cluster."""
_INSTEAD = "or choose runtime=onnxruntime"
_OPTIONS = {
    # No -march=native; 256-bit vectors only add -mavx2 -mfma -mf16c.
    "cpp.march": "",
    "cpp.simdlen": 256,
    # A failed check in a parallel loop (such as an id outside its table) would abort the process; with one thread it
    # raises an exception. Matrix products are torch's own and still use torch's threads.
    "cpp.threads": 1,
    # For profilers only.
    "aot_inductor.enable_line_tables": False,
}
"""Options of torch._inductor.config."""


def native_record() -> RuntimeRecord:
    """Return the runtime requirements of packages compiled by this process.

    Raises:
        InputError: this machine cannot compile them.
    """
    require_cpp_compiler("runtime is 'aotinductor'", _INSTEAD)
    if platform.machine() != _MACHINE or set(_CPU) - cpu_flags():
        raise InputError(
            f"runtime is 'aotinductor', but this machine is not {_MACHINE} with {', '.join(_CPU)}",
            f"compile on such a machine, {_INSTEAD}",
        )
    return RuntimeRecord(name="aotinductor", torch=torch_release(), machine=_MACHINE, cpu=_CPU)


def export_aoti(module: nn.Module, path: Path, inputs: Inputs) -> None:
    """Write any module with one output tensor as one package of native code.

    Source: PyTorch's ahead-of-time compiler (`torch._inductor.aoti_compile_and_package`).

    Args:
        module: Module that returns one tensor.
        path: File to write; must end in .pt2.
        inputs: See export.Inputs.

    Raises:
        DataError: the C++ compiler fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _quiet():
        program = torch.export.export(
            module.eval().requires_grad_(False), tuple(tensor for tensor, _ in inputs.values()),
            dynamic_shapes=tuple(shape for _, shape in inputs.values()),
        )  # fmt: skip
        try:
            torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=dict(_OPTIONS))
        except (InductorError, CppCompileError) as error:
            output = str(error).partition("Output:")[2].strip() or "(nothing)"
            raise DataError(
                f"{path.name} could not be compiled: {str(error).splitlines()[0]}",
                f"fix the compiler error below, {_INSTEAD}:\n{output[:2_000]}",
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # torch.export and inductor deprecate parts of each other; nothing here calls the deprecated names.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        # A recurrent layer keeps a flat list of its weights for GPUs, which is reassigned in every call.
        warnings.filterwarnings("ignore", message="The tensor attributes .* were assigned during export")
        yield
