"""Golden requests: requests stored in a bundle with their expected answers, checked wherever it is opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.errors import BundleError
from components.shared.storage import read_json

GOLDEN = "golden.json"
TOLERANCE = 1e-3
"""Maximum score difference; int8 kernels differ slightly between CPUs."""


@dataclass(frozen=True)
class Golden:
    """A request with the answer of the trained model.

    Attributes:
        request: a serving request (serving/protocol.py). items: item ids, best first. scores: one for each item.
    """

    request: dict[str, Any]
    items: tuple[str, ...]
    scores: tuple[float, ...]

    def difference(self, items: Sequence[str], scores: Sequence[float], tolerance: float = TOLERANCE) -> str:
        """Describe the first difference to the golden answer; '' if there is none.

        Items must be in the same order. Two may swap positions only if their golden scores differ by less than
        `tolerance`; the last item may be replaced by one that ties with it.
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
    """Read the golden requests of a bundle.

    Raises:
        BundleError: the file has no golden requests, or has another format.
    """
    path = folder / GOLDEN
    try:
        found = [Golden(one["request"], tuple(one["items"]), tuple(map(float, one["scores"])))
                 for one in read_json(path)]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path} has no valid golden requests: {error}", "compile the model again") from error
    if not found or any(len(one.items) != len(one.scores) for one in found):
        raise BundleError(
            f"{path} has no golden requests, or different numbers of items and scores", "compile the model again"
        )
    return found
