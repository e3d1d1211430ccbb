"""Off-policy evaluation of a candidate from the champion's logged exploration, before the candidate gets traffic.

The champion explores at the last position and logs its propensities; the candidate answers copies of the same requests
as a shadow and logs the items that it would have shown; the shop's events give the rewards. A request counts if both
answers have the same length and the candidate's last item is not at a higher position of the champion's answer, from
where it can never be drawn for the last position. This depends only on both rankings, not on the draw or the rewards,
so excluding the other requests does not bias the estimates for the remaining ones; the number of excluded requests is
reported. See Comparison for the meaning of each estimate.
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
"""Item shown at the last position, its propensity, and the item that the candidate would have shown there."""


@dataclass(frozen=True)
class Decisions:
    """Last positions of the champion's answers to comparable requests, one entry per request.

    Attributes:
        request_id: id of the request. item_id: item shown at the last position. propensity: its probability there.
        candidate: item that the candidate would have shown there. reward: 1.0 if the event followed, else 0.0.
        excluded: number of requests that both answered but that are not comparable; see compare_logged.
    """

    request_id: list[str]
    item_id: list[str]
    propensity: np.ndarray
    candidate: list[str]
    reward: np.ndarray
    excluded: int

    def logged(self) -> Logged:
        """Return the input of the estimators; the candidate chooses an item with probability 1 or 0."""
        pairs = zip(self.item_id, self.candidate, strict=True)
        return Logged(self.reward, self.propensity, np.array([float(shown == wanted) for shown, wanted in pairs]))


@dataclass(frozen=True)
class Comparison:
    """Mean number of events per request at the last position, over the comparable requests.

    Attributes:
        champion: mean for the shown items, exploration included.
        candidate_ips: mean if the candidate's last item were there, below the champion's other items. Items outside
            the champion's pool are never drawn and count as 0, so the estimate is too low by their rewards.
        candidate_snips: mean over the requests whose candidate item the champion can draw; the other requests are
            excluded instead of counted as 0.
        candidate_dr: mean predicted by the items' rates (counterfactual.item_rates), corrected where the champion drew
            the candidate's item; an item that it never draws counts with its predicted rate.
        decisions: number of comparable requests. excluded: number of other requests that both answered.
    """

    champion: float
    candidate_ips: Estimate
    candidate_snips: Estimate
    candidate_dr: Estimate
    decisions: int
    excluded: int

    @property
    def share(self) -> float:
        """Share of comparable requests among those that both answered."""
        return self.decisions / (self.decisions + self.excluded)


def compare_logged(log: Path, candidate: str, events: Path, event_type: str = "purchase") -> Comparison:
    """Estimate the rewards that the candidate's items would have had at the last position.

    Requests are excluded, and counted, if the candidate's last item is at a higher position of the champion's answer or
    the answers differ in length, because the champion can then never show that item at the same last position.

    Args:
        log: Folder of the inference logs of champion and candidate.
        candidate: Version that answered as a shadow.
        events: Folder of the shop's events, Parquet, with request_id.
        event_type: Event that counts as reward: view, cart or purchase of the item at that position.

    Raises:
        InputError: events have no request_id or cannot be read.
        DataError: the champion did not explore; the candidate answered no copies, or explored itself; no request is
            comparable; or the champion never showed the candidate's item.
    """
    found = decisions(log, candidate, events, event_type)
    logged = found.logged()
    robust = doubly_robust(logged, *item_rates(found.item_id, found.reward, found.candidate))
    return Comparison(
        float(found.reward.mean()), ips(logged), snips(logged), robust, len(found.reward), found.excluded
    )  # fmt: skip


def decisions(log: Path, candidate: str, events: Path, event_type: str) -> Decisions:
    """Join both logs and the events by request_id; see compare_logged.

    The log is read twice, and only the ids and the propensity of the last position are kept per request.
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
    """Last item and length of the candidate's shadow answers, by request id."""
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
    """Decision at the last position of every request that both answered, by request id; None if not comparable."""
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
    """(request_id, item_id) of every event of this type for one of the requests; other events are not kept."""
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
