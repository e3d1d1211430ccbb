"""Two trained folders that hold the same model."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from components.shared.storage import read_json


def curve(model: Path) -> list[dict]:
    """The points of curve.json without their times."""
    points = read_json(model / "curve.json")
    return [{name: value for name, value in point.items() if name != "seconds"} for point in points]


def assert_same_model(one: Path, other: Path) -> None:
    """Bit for bit: the same shards on the same number of ranks do the same sums."""
    assert curve(one) == curve(other)
    assert (one / "config.json").read_bytes() == (other / "config.json").read_bytes()
    ours, theirs = load_file(one / "weights.safetensors"), load_file(other / "weights.safetensors")
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
