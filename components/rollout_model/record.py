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
MAX_OBSERVATIONS = 400
"""Maximum number of observations per step; more are merged in pairs, so that the record of a long rollout is small."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One observation."""

    time: float
    """Epoch seconds."""
    percent: int
    """Percentage of the traffic on the candidate."""
    interval: Interval
    """Counts since the previous observation."""
    verdict: Verdict
    """Verdict of the judge."""

    def to_json(self) -> dict[str, Any]:
        """Return the observation as JSON values; overlaps as counts by value."""
        interval = dataclasses.asdict(self.interval)
        overlaps = sorted(Counter(self.interval.overlaps).items())
        verdict = {
            "action": str(self.verdict.action), "reasons": list(self.verdict.reasons),
            "guards": [guard.to_json() for guard in self.verdict.guards],
        }  # fmt: skip
        return {"time": self.time, "percent": self.percent, "verdict": verdict,
                "interval": {**interval, "overlaps": [list(pair) for pair in overlaps]}}  # fmt: skip

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Observation":
        """The inverse of `to_json`, except for the order of overlaps.

        Raises:
            InputError: the observation is invalid or has another format.
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


def downsampled(seen: Sequence[Observation], most: int = MAX_OBSERVATIONS) -> list[Observation]:
    """Merge observations in pairs in every step that has more than `most`; total counts and the last verdict are kept.

    Args:
        seen: Observations in order of time.
        most: Maximum number of observations per step, 2 or more.
    """
    kept: list[Observation] = []
    for percent in dict.fromkeys(one.percent for one in seen):
        looks = [one for one in seen if one.percent == percent]
        while len(looks) > most:
            odd = looks[: len(looks) % 2]
            looks = odd + [_merged(*pair) for pair in zip(looks[len(odd) :: 2], looks[len(odd) + 1 :: 2], strict=True)]
        kept += looks
    return kept


def _merged(first: Observation, second: Observation) -> Observation:
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
    """A finished rollout."""

    model: str
    """Name in the registry."""
    champion: str
    """Version that served before the rollout."""
    candidate: str
    """Version to replace it."""
    action: str
    """promoted or rolled_back."""
    reasons: tuple[str, ...]
    """Reasons for the decision."""
    began: float
    """Epoch seconds."""
    decided: float
    """Epoch seconds of the decision."""
    moved: float
    """Epoch seconds when all traffic had moved."""
    slow: float | None
    """Limit of a slow answer in seconds; None if the rollout ended before it was measured."""
    steps: tuple[int, ...]
    """Planned percentages."""
    guards: GuardConfig
    """Limits of the guards."""
    seen: tuple[Observation, ...]
    """Observations, oldest first."""

    @property
    def promoted(self) -> bool:
        """Whether the candidate replaced the champion."""
        return self.action == PROMOTED

    @property
    def deciders(self) -> tuple[GuardState, ...]:
        """Guards with detected harm at the last observation."""
        last = self.seen[-1].verdict.guards if self.seen else ()
        return tuple(guard for guard in last if guard.state is State.HARM)

    @property
    def candidate_requests(self) -> int:
        """Number of live requests to the candidate."""
        return sum(one.interval.candidate.requests for one in self.seen)

    @property
    def requests(self) -> int:
        """Number of live requests to both versions."""
        return self.candidate_requests + sum(one.interval.champion.requests for one in self.seen)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values."""
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
        InputError: the file is missing or has another format.
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
            "seen": tuple(Observation.from_json(one) for one in raw["seen"]),
        })  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder / RECORD} is not a valid rollout record: {error!r}", "roll the version out again"
        ) from error
