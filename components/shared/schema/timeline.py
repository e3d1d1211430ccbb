"""The split by time into training, validation and test windows.

    start ---- retriever rows ----|--- ranker snapshots, each with its window ---|- validation -|-- test --| end
                            retriever_end                                     validation      test

Every window is `horizon` seconds long. The ranker is trained on a period that the retriever has not seen, because the
retriever's scores on its own training rows are too optimistic.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from components.shared.errors import DataError
from components.shared.storage import read_json, write_json


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Times of the split in epoch seconds; features of a row only use events strictly before the row's time."""

    start: int
    """Time of the first event."""
    retriever_end: int
    """Retriever rows, vocabularies and price statistics come from events before this."""
    ranker: tuple[int, ...]
    """Times of the ranker's snapshots, oldest first; labels are from the `horizon` seconds after each."""
    validation: int
    """Labels in [validation, validation + horizon) are used for early stopping and model selection; the final ranker is
    also trained on them."""
    test: int
    """Labels in [test, test + horizon) are only used by evaluate_model."""
    horizon: int
    """Length of every label window in seconds."""
    end: int
    """One second after the last event; the reference time of the served bundle."""

    def reference_times(self) -> dict[str, int]:
        """Time of every snapshot, by name."""
        ranker = {f"ranker-{number}": as_of for number, as_of in enumerate(self.ranker)}
        return {**ranker, "validation": self.validation, "test": self.test}

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Timeline":
        """Read from JSON."""
        raw = read_json(path)
        return cls(**{**raw, "ranker": tuple(raw["ranker"])})

    @classmethod
    def plan(cls, start: int, last: int, horizon_days: float, snapshots: int) -> "Timeline":
        """Place the windows backwards from the end; shorter windows for short data.

        Args:
            start: Epoch seconds of the first event.
            last: Epoch seconds of the last event.
            horizon_days: Length of a label window, limited to a tenth of the time span.
            snapshots: Number of ranker snapshots, a quarter of a horizon apart.

        Raises:
            DataError: the events span less than a hundred seconds, so nothing can be split by time.
        """
        end, span = last + 1, last + 1 - start
        if span < 100:
            raise DataError(
                f"column 'timestamp': all events lie within {span} s, so the data cannot be split by time",
                "give events of at least several hours, or check the unit of the timestamps (seconds, milliseconds)",
            )
        horizon = int(min(horizon_days * 86_400, span * 0.1))
        test, validation = end - horizon, end - 2 * horizon
        newest = validation - horizon
        ranker = tuple(newest - step * (horizon // 4) for step in reversed(range(snapshots)))
        return cls(start=start, retriever_end=ranker[0], ranker=ranker, validation=validation, test=test,
                   horizon=horizon, end=end)  # fmt: skip
