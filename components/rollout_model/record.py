"""The decision record of a rollout: observations, limits, decision and times, as record.json."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.rollout_model.guards import Action, Arm, GuardConfig, GuardState, Interval, State, Verdict
from components.shared.errors import InputError
from components.shared.storage import read_json, write_json

RECORD = "record.json"
FORMAT = 1
PROMOTED, ROLLED_BACK = "promoted", "rolled_back"
LOOKS_KEPT = 400
"""Of a step; more are merged in pairs, so that a record of weeks stays small."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One look."""

    time: float
    """Epoch seconds."""
    percent: int
    """Of the traffic, that the candidate got."""
    interval: Interval
    """What had happened since the look before."""
    verdict: Verdict
    """What the judge said."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values; overlaps as how often each came."""
        interval = dataclasses.asdict(self.interval)
        overlaps = sorted(Counter(self.interval.overlaps).items())
        verdict = {
            "action": str(self.verdict.action), "reasons": list(self.verdict.reasons),
            "guards": [guard.to_json() for guard in self.verdict.guards],
        }  # fmt: skip
        return {"time": self.time, "percent": self.percent, "verdict": verdict,
                "interval": {**interval, "overlaps": [list(pair) for pair in overlaps]}}  # fmt: skip

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Seen":
        """The inverse of `to_json`, but for the order of overlaps.

        Raises:
            InputError: it is of another form.
        """
        try:
            interval, verdict = raw["interval"], raw["verdict"]
            overlaps = tuple(float(value) for value, times in interval["overlaps"] for _ in range(times))
            arms = {name: Arm(**interval[name]) for name in ("champion", "candidate")}
            return cls(
                time=float(raw["time"]), percent=int(raw["percent"]),
                interval=Interval(seconds=interval["seconds"], overlaps=overlaps, **arms),
                verdict=Verdict(
                    action=Action(verdict["action"]), reasons=tuple(map(str, verdict["reasons"])),
                    guards=tuple(GuardState.from_json(guard) for guard in verdict["guards"]),
                ),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"this is not a valid observation of a rollout: {error!r}", "remove the file and roll out again"
            ) from error


def thinned(seen: Sequence[Seen], most: int = LOOKS_KEPT) -> list[Seen]:
    """Merge looks of the same step in pairs wherever a step has more than `most`; counts and the last look stay.

    Args:
        seen: In order of time.
        most: Looks of a step, 2 or more.
    """
    kept: list[Seen] = []
    for percent in dict.fromkeys(one.percent for one in seen):
        looks = [one for one in seen if one.percent == percent]
        while len(looks) > most:
            odd = looks[: len(looks) % 2]
            looks = odd + [_merged(*pair) for pair in zip(looks[len(odd) :: 2], looks[len(odd) + 1 :: 2], strict=True)]
        kept += looks
    return kept


def _merged(first: Seen, second: Seen) -> Seen:
    one, other = first.interval, second.interval
    interval = Interval(
        seconds=one.seconds + other.seconds, champion=_added(one.champion, other.champion),
        candidate=_added(one.candidate, other.candidate), overlaps=one.overlaps + other.overlaps,
    )  # fmt: skip
    return dataclasses.replace(second, interval=interval)


def _added(one: Arm, other: Arm) -> Arm:
    sums: dict[str, Any] = {}
    for name, value in vars(one).items():
        known = [count for count in (value, getattr(other, name)) if count is not None]
        sums[name] = sum(known) if known else None
    return Arm(**sums)


@dataclass(frozen=True, kw_only=True)
class RolloutRecord:
    """A rollout that is over."""

    model: str
    """Name in the registry."""
    champion: str
    """Version that served before."""
    candidate: str
    """Version that was to replace it."""
    action: str
    """promoted or rolled_back."""
    reasons: tuple[str, ...]
    """What decided."""
    began: float
    """Epoch seconds."""
    decided: float
    """Epoch seconds of the decision."""
    moved: float
    """Epoch seconds when the traffic had moved."""
    slow: float | None
    """Limit of a slow answer in seconds; None when the rollout ended before it was measured."""
    steps: tuple[int, ...]
    """Percentages that were planned."""
    guards: GuardConfig
    """Limits."""
    seen: tuple[Seen, ...]
    """Looks, oldest first."""

    @property
    def promoted(self) -> bool:
        """Whether the candidate serves now."""
        return self.action == PROMOTED

    @property
    def deciders(self) -> tuple[GuardState, ...]:
        """Guards that showed harm at the last look."""
        last = self.seen[-1].verdict.guards if self.seen else ()
        return tuple(guard for guard in last if guard.state is State.HARM)

    @property
    def candidate_requests(self) -> int:
        """Live requests that the candidate answered."""
        return sum(one.interval.candidate.requests for one in self.seen)

    @property
    def requests(self) -> int:
        """Live requests that both answered."""
        return self.candidate_requests + sum(one.interval.champion.requests for one in self.seen)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            **plain, "format": FORMAT, "reasons": list(self.reasons), "steps": list(self.steps),
            "guards": self.guards.to_json(), "seen": [one.to_json() for one in self.seen],
        }  # fmt: skip

    def write(self, folder: Path) -> None:
        """Write record.json.

        Raises:
            InputError: the folder cannot be written.
        """
        write_json(folder / RECORD, self.to_json())


def read_record(folder: Path) -> RolloutRecord:
    """Read record.json.

    Raises:
        InputError: it is missing or of another form.
    """
    raw = read_json(folder / RECORD)
    try:
        if raw["format"] != FORMAT:
            raise InputError(f"{folder / RECORD} has format {raw['format']}", f"the supported format is {FORMAT}")
        fields = {field.name: raw[field.name] for field in dataclasses.fields(RolloutRecord)}
        if raw["action"] not in (PROMOTED, ROLLED_BACK):
            raise ValueError(f"action '{raw['action']}' is neither {PROMOTED} nor {ROLLED_BACK}")
        return RolloutRecord(**{
            **fields, "reasons": tuple(map(str, raw["reasons"])), "steps": tuple(map(int, raw["steps"])),
            "guards": GuardConfig.read(raw["guards"], "guards"),
            "seen": tuple(Seen.from_json(one) for one in raw["seen"]),
        })  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder / RECORD} is not a valid rollout record: {error!r}", "roll the version out again"
        ) from error
