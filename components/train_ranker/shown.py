"""Positions of items in responses to shoppers: the inference log joined with the shop's events by request_id."""

import hashlib
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from components.shared.errors import DataError, InputError
from components.shared.features.rows import REQUESTS
from components.shared.models.examination import NOT_SHOWN, UNKNOWN
from components.shared.progress import report
from components.shared.schema.timeline import Timeline
from components.shared.telemetry.inference_log import SUFFIX, Answered, LogReader


@dataclass(frozen=True)
class ShownPositions:
    """The best position of each item that a shopper was shown in one label window.

    Attributes:
        key: int64, ascending, shopper * items + item. position: int64, from 1. items: number of catalog rows.
    """

    key: np.ndarray
    position: np.ndarray
    items: int

    def at(self, shopper: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Return positions of pairs, int64: NOT_SHOWN if the shopper was only shown other items, UNKNOWN if nothing."""
        if not len(self.key):
            return np.full(len(item), UNKNOWN, np.int64)
        wanted = shopper * self.items + item
        at = np.minimum(np.searchsorted(self.key, wanted), len(self.key) - 1)
        otherwise = np.where(np.isin(shopper, self.key // self.items), NOT_SHOWN, UNKNOWN)
        return np.where(self.key[at] == wanted, self.position[at], otherwise)

    @property
    def digest(self) -> str:
        """Digest of all keys and positions."""
        return hashlib.sha256(self.key.tobytes() + self.position.tobytes()).hexdigest()[:16]


def read_shown_positions(features: Path, log: Path) -> dict[str, ShownPositions]:
    """Read the positions shown in the label window of every snapshot except the test snapshot.

    Responses of a shadow model, and responses whose request_id is in no event, are ignored.

    Args:
        features: Output of build_features.
        log: Folder of the predictors' inference logs.

    Raises:
        InputError: no event has a request_id, the folder contains no log, or a line is not a valid record.
        DataError: no response belongs to a request in the label windows.
    """
    if not (features / REQUESTS).exists():
        raise InputError(
            f"inference_log: no event of these features carries a request_id, needed to join {log} with shoppers",
            "add the request_id of the answer to events and build the features again",
        )
    if not any(log.glob(f"*{SUFFIX}")):
        raise InputError(f"inference_log: {log} has no *{SUFFIX}", "name the folder that predictors write with "
                         "--inference_log, on a volume that this step sees")  # fmt: skip
    requests = pq.read_table(features / REQUESTS)
    items = pq.read_table(features / "items.parquet", columns=["item_id"])["item_id"].to_pylist()
    request, item, position = _answers(log, requests["request_id"].to_pylist(), items)
    shopper, request_time = (requests[name].to_numpy()[request] for name in ("shopper", "timestamp"))
    timeline, found = Timeline.read(features / "timeline.json"), {}
    for name, start in timeline.reference_times().items():
        if name == "test":
            continue
        inside = (request_time >= start) & (request_time < start + timeline.horizon) & (item > 0)
        key = shopper[inside].astype(np.int64) * len(items) + item[inside]
        order = np.lexsort((position[inside], key))
        distinct, first = np.unique(key[order], return_index=True)
        found[name] = ShownPositions(distinct, position[inside][order][first], len(items))
        report("train_ranker", 0.0, f"{name}: {len(distinct):,} pairs of shopper and item with a position")
    if not any(len(shown.key) for shown in found.values()):
        raise DataError(
            f"inference_log: none of the answers in {log} belongs to a request of the label windows",
            "give the logs of that period, and events with the request_ids of their answers",
        )
    return found


def _answers(log: Path, requests: list[str], items: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return request row, catalog row (0: unknown) and position of every item in the responses to these requests."""
    request_row = {name: row for row, name in enumerate(requests)}
    item_row = {name: row for row, name in enumerate(items)}
    request, item, position = array("q"), array("q"), array("q")
    for record in LogReader(log).read():
        if isinstance(record, Answered) and not record.shadow and record.request_id in request_row:
            request.extend([request_row[record.request_id]] * len(record.items))
            item.extend(item_row.get(name, 0) for name in record.items)
            position.extend(range(1, len(record.items) + 1))
    return np.array(request, np.int64), np.array(item, np.int64), np.array(position, np.int64)
