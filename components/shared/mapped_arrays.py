"""Arrays in files that are mapped into memory, so that processes share them and only what is used is read."""

from pathlib import Path

import numpy as np


def map_array(path: Path) -> np.ndarray:
    """Map a .npy file, read-only.

    It is a plain array: numpy runs Python code of its own for each slice of a `memmap`, which takes longer than many a
    step of an answer.
    """
    return np.asarray(np.load(path, mmap_mode="r"))
