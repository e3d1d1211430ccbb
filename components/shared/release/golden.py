"""Golden requests: questions whose answers a bundle carries, asked again wherever it is opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.errors import BundleError
from components.shared.storage import read_json

GOLDEN = "golden.json"
TOLERANCE = 1e-3
"""Largest difference of a score; int8 kernels differ a little between processors, the order must not."""


@dataclass(frozen=True)
class Golden:
    """One request and what the trained model answered.

    Attributes:
        request: a serving request (serving/protocol.py). items: item ids, best first. scores: one for each item.
    """

    request: dict[str, Any]
    items: tuple[str, ...]
    scores: tuple[float, ...]

    def difference(self, items: Sequence[str], scores: Sequence[float], tolerance: float = TOLERANCE) -> str:
        """What differs between the golden answer and this one; '' when nothing does.

        Items must stand in the same order. Two may change positions only when their golden scores are closer than
        `tolerance`, and at the end an item that ties with the last one may stand in for it.
        """
        if len(items) != len(self.items):
            return f"{len(items)} items instead of {len(self.items)}"
        wanted = dict(zip(self.items, self.scores, strict=True))
        for position, (item, score) in enumerate(zip(items, scores, strict=True)):
            if abs(score - self.scores[position]) > tolerance:
                return f"score {score:.6g} at position {position + 1} instead of {self.scores[position]:.6g}"
            if abs(wanted.get(item, self.scores[-1]) - self.scores[position]) > tolerance:
                return f"item '{item}' at position {position + 1} instead of '{self.items[position]}'"
        return ""


def read_golden(folder: Path) -> list[Golden]:
    """The golden requests of a bundle.

    Raises:
        BundleError: the file holds none, or is of another form.
    """
    path = folder / GOLDEN
    try:
        found = [Golden(one["request"], tuple(one["items"]), tuple(map(float, one["scores"])))
                 for one in read_json(path)]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path} does not hold golden requests: {error}", "compile the model again") from error
    if not found or any(len(one.items) != len(one.scores) for one in found):
        raise BundleError(f"{path} holds no golden requests, or scores without items", "compile the model again")
    return found
