"""The C++ compiler that torch hands its generated code to."""

import os
import shutil

from components.shared.errors import InputError


def require_cpp_compiler(wish: str, instead: str) -> None:
    """Refuse what generated code is needed for where nothing can translate it.

    Args:
        wish: The setting that asks for it, such as "runtime is 'aotinductor'".
        instead: What else the person may do.

    Raises:
        InputError: neither CXX nor g++ names a program on PATH.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise InputError(f"{wish}, and there is no C++ compiler '{compiler}' on PATH",
                         f"install g++ (the train image has it) or name another with CXX, {instead}")  # fmt: skip
