"""Conversion of disk errors to InputError, and memory-mapped files whose disk space is allocated in advance."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np

from components.shared.errors import InputError

_SIGNS = ("No space left", "ermission denied", "Read-only file system", "Disk quota", "failed to offload")


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Convert disk errors under `where` to InputError; other errors pass through.

    Raises:
        InputError: the disk is full or not writable.
    """
    try:
        yield
    except (OSError, duckdb.Error) as error:
        # On a full disk DuckDB raises different classes in a write, a commit, a spill and a checkpoint.
        if isinstance(error, duckdb.Error) and not any(sign in str(error) for sign in _SIGNS):
            raise
        raise InputError(
            f"cannot write {where}: {str(error).splitlines()[0]}",
            "free space or choose another folder; no partial output was left",
        ) from error


def new_array(path: Path, dtype: type, length: int) -> np.memmap:
    """Create a one-dimensional .npy file and memory-map it for writing.

    Its blocks are allocated immediately: writing to a sparse file on a full disk kills the process (SIGBUS).

    Raises:
        OSError: the disk is full.
    """
    array = np.lib.format.open_memmap(path, "w+", dtype, (length,))
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
