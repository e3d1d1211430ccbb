"""A candidate judged by the champion's exploration: what its last positions would have earned, before any traffic.

The champion explores at the last position and logs its propensities; the candidate answers copies of the same requests
as a shadow and logs what it would have shown; the shop's events say what followed. A request counts where both answers
are equally long and the candidate's last item does not stand higher in the champion's answer, from where it can never
be drawn for the last position. That depends on both rankings alone, never on the draw or on what followed, so leaving
the others out biases no estimate for those that remain; how many are left out is reported. Comparison says what each
estimate then means.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from components.evaluate_model.counterfactual import Estimate, Logged, doubly_robust, ips, item_rates, snips
from components.shared.errors import DataError, InputError
from components.shared.telemetry.inference_log import Answered, LogReader

Decision = tuple[str, float, str]
"""Item that was shown at the last position, its propensity, and the item that the candidate would have shown there."""


@dataclass(frozen=True)
class Decisions:
    """Last positions of the champion's answers to requests that can be compared, one entry each.

    Attributes:
        request_id: of the answer. item_id: that was shown there. propensity: with which it was.
        candidate: item that the candidate would have shown there. reward: 1.0 when the event followed, else 0.0.
        left_out: number of requests that both answered and that cannot be compared; see compare_logged.
    """

    request_id: list[str]
    item_id: list[str]
    propensity: np.ndarray
    candidate: list[str]
    reward: np.ndarray
    left_out: int

    def logged(self) -> Logged:
        """For the estimators; the candidate chooses with probability 1 or 0."""
        pairs = zip(self.item_id, self.candidate, strict=True)
        return Logged(self.reward, self.propensity, np.array([float(shown == wanted) for shown, wanted in pairs]))


@dataclass(frozen=True)
class Comparison:
    """Events a request at the last position, over the requests that can be compared.

    Attributes:
        champion: mean of what was shown, exploration included.
        candidate_ips: mean had the candidate's last item stood there, below the champion's other items. An item from
            beyond the champion's pool is never drawn and counts as nothing: the estimate is too low by their worth.
        candidate_snips: mean over those of the requests whose candidate's item the champion can draw; the others do not
            count as nothing, they drop out.
        candidate_dr: mean by a model of items' rates (counterfactual.item_rates), corrected where the champion drew
            the candidate's item; an item that it never draws counts as that model says.
        decisions: requests that count. left_out: requests that both answered and that cannot be compared.
    """

    champion: float
    candidate_ips: Estimate
    candidate_snips: Estimate
    candidate_dr: Estimate
    decisions: int
    left_out: int

    @property
    def share(self) -> float:
        """Part of the requests that both answered over which the means are."""
        return self.decisions / (self.decisions + self.left_out)


def compare_logged(log: Path, candidate: str, events: Path, event_type: str = "purchase") -> Comparison:
    """Estimate what the candidate's last positions would have earned.

    Requests are left out, and counted, whose candidate's last item stands higher in the champion's answer, or whose
    answers are of different lengths: what one has at its last position the other could not have there.

    Args:
        log: Folder of the inference logs of champion and candidate.
        candidate: Version that answered as a shadow.
        events: Folder of the shop's events, Parquet, with request_id.
        event_type: What counts: view, cart or purchase of the item in that position.

    Raises:
        InputError: events carry no request_id, or cannot be read.
        DataError: nothing was explored, or the candidate answered no copy, or explored itself; no request can be
            compared; or the champion never showed what the candidate would have.
    """
    found = decisions(log, candidate, events, event_type)
    logged = found.logged()
    robust = doubly_robust(logged, *item_rates(found.item_id, found.reward, found.candidate))
    return Comparison(
        float(found.reward.mean()), ips(logged), snips(logged), robust, len(found.reward), found.left_out
    )  # fmt: skip


def decisions(log: Path, candidate: str, events: Path, event_type: str) -> Decisions:
    """Join both logs and the events by request_id; see compare_logged.

    The log is read twice, and of a request no more is kept than its ids and propensity of the last position.
    """
    compared = _compared(log, _wanted(log, candidate), candidate)
    kept = sorted((request, *decision) for request, decision in compared.items() if decision)
    if not kept:
        raise DataError(
            f"{log}: none of {len(compared):,} requests can be compared: the last item of {candidate} is higher in "
            "the champion's answer, or the answers differ in length",
            "collect more requests with the same k, or compare models that rank different items",
        )
    requests, shown, propensities, wanted = map(list, zip(*kept, strict=True))
    took = _taken(events, event_type, requests)
    reward = np.array([float(pair in took) for pair in zip(requests, shown, strict=True)])
    return Decisions(requests, shown, np.array(propensities), wanted, reward, len(compared) - len(kept))


def _wanted(log: Path, candidate: str) -> dict[str, tuple[str, int]]:
    """Last item and number of items of the candidate's answers to copies, by request."""
    wanted = {}
    for record in LogReader(log).read():
        if not isinstance(record, Answered) or not record.items:
            continue
        if record.shadow and record.version == candidate:
            if record.propensities:
                raise DataError(
                    f"{candidate} explored although it was a shadow",
                    "serve it with this shoprank version, which never explores in a shadow",
                )
            wanted[record.request_id] = (record.items[-1], len(record.items))
    return wanted


def _compared(log: Path, wanted: dict[str, tuple[str, int]], candidate: str) -> dict[str, Decision | None]:
    """By request that both answered, the decision at the last position; None where they cannot be compared."""
    compared: dict[str, Decision | None] = {}
    explored = False
    for record in LogReader(log).read():
        if not isinstance(record, Answered) or record.shadow or not record.items or not record.propensities:
            continue
        explored = True
        if record.request_id not in wanted:
            continue
        item, length = wanted[record.request_id]
        fits = length == len(record.items) and item not in record.items[:-1]
        compared[record.request_id] = (record.items[-1], record.propensities[-1], item) if fits else None
    if not compared:
        what = f"no copy of them was answered by {candidate}" if explored else "no answer has propensities"
        raise DataError(f"{log}: {what}", "serve the champion with --explore and --shadow_url set to the candidate")
    return compared


def _taken(events: Path, event_type: str, requests: list[str]) -> set[tuple[str, str]]:
    """(request_id, item_id) of every such event that followed one of the requests; others are never held."""
    try:
        chosen = (pc.field("event_type") == event_type) & pc.field("request_id").isin(pa.array(requests, pa.string()))
        source = ds.dataset(events, format="parquet")
        batches = source.to_batches(columns=["request_id", "item_id"], filter=chosen)
        return {
            pair
            for batch in batches
            for pair in zip(batch["request_id"].to_pylist(), batch["item_id"].to_pylist(), strict=True)
        }
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"events {events}: {str(error).splitlines()[0]}", "give the output folder of ingest_events"
                         ) from error  # fmt: skip
