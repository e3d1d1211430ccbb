"""A candidate judged by the champion's exploration: what its last places would have earned before it gets any traffic.

The champion explores at the last place and logs its propensities; the candidate answers copies of the same requests as
a shadow and logs what it would have shown; the shop's events say what followed. What the candidate would show there
from beyond the champion's pool was never shown, so its worth counts as nothing: the estimate is then too low.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from components.evaluate_model.counterfactual import Estimate, Logged, ips, snips
from components.shared.errors import DataError, InputError
from components.shared.inference_log import Answered, LogReader


@dataclass(frozen=True)
class Decisions:
    """Last places of the champion's answers to requests that the candidate answered too, one entry each.

    Attributes:
        request_id: of the answer. item_id: that was shown there. propensity: with which it was.
        candidate: item that the candidate would have shown there. reward: 1.0 when the event followed, else 0.0.
    """

    request_id: list[str]
    item_id: list[str]
    propensity: np.ndarray
    candidate: list[str]
    reward: np.ndarray

    def logged(self) -> Logged:
        """For the estimators; the candidate chooses with probability 1 or 0."""
        pairs = zip(self.item_id, self.candidate, strict=True)
        return Logged(self.reward, self.propensity, np.array([float(shown == wanted) for shown, wanted in pairs]))


@dataclass(frozen=True)
class Comparison:
    """Events a request at the last place.

    Attributes:
        champion: mean of what was shown, exploration included. candidate_ips, candidate_snips: estimates for the
            candidate. decisions: requests that count.
    """

    champion: float
    candidate_ips: Estimate
    candidate_snips: Estimate
    decisions: int


def compare_logged(log: Path, candidate: str, events: Path, event_type: str = "purchase") -> Comparison:
    """Estimate what the candidate's last places would have earned.

    Args:
        log: Folder of the inference logs of champion and candidate.
        candidate: Version that answered as a shadow.
        events: Folder of the shop's events, Parquet, with request_id.
        event_type: What counts: view, cart or purchase of the item in that place.

    Raises:
        InputError: events carry no request_id, or cannot be read.
        DataError: nothing was explored, or the candidate answered no copy, or explored itself.
    """
    found = decisions(log, candidate, events, event_type)
    return Comparison(float(found.reward.mean()), ips(found.logged()), snips(found.logged()), len(found.reward))


def decisions(log: Path, candidate: str, events: Path, event_type: str) -> Decisions:
    """Join both logs and the events by request_id; see compare_logged."""
    shown, wanted = _answers(log, candidate)
    both = sorted(shown.keys() & wanted.keys())
    if not shown or not both:
        what = "no answer has propensities" if not shown else f"no copy of them was answered by {candidate}"
        raise DataError(f"{log}: {what}", "serve with --explore, and let its --shadow_url name the candidate")
    took = _taken(events, event_type)
    return Decisions(
        both, [shown[request].items[-1] for request in both],
        np.array([shown[request].propensities[-1] for request in both]),
        [wanted[request].items[-1] for request in both],
        np.array([float((request, shown[request].items[-1]) in took) for request in both]),
    )  # fmt: skip


def _answers(log: Path, candidate: str) -> tuple[dict[str, Answered], dict[str, Answered]]:
    """Explored answers, and the candidate's answers to copies, by request."""
    shown, wanted = {}, {}
    for record in LogReader(log).read():
        if not isinstance(record, Answered) or not record.items:
            continue
        if not record.shadow and record.propensities:
            shown[record.request_id] = record
        elif record.shadow and record.version == candidate:
            if record.propensities:
                raise DataError(
                    f"{candidate} explored while it was a shadow", "serve it with this release, which never does"
                )
            wanted[record.request_id] = record
    return shown, wanted


def _taken(events: Path, event_type: str) -> set[tuple[str, str]]:
    """(request_id, item_id) of every such event."""
    try:
        source = ds.dataset(events, format="parquet")
        chosen = (pc.field("event_type") == event_type) & pc.field("request_id").is_valid()
        table = source.to_table(columns=["request_id", "item_id"], filter=chosen)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"events {events}: {str(error).splitlines()[0]}", "give the folder that ingest_events wrote"
                         ) from error  # fmt: skip
    return set(zip(table["request_id"].to_pylist(), table["item_id"].to_pylist(), strict=True))
