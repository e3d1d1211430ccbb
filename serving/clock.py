"""What 'now' is when a request does not say: the time of day, or the end of the bundle's data."""

import datetime
from dataclasses import dataclass
from typing import Literal

from components.shared.features.spec import DAY

Clock = Literal["bundle", "system"]
ClockOption = Literal["auto", "bundle", "system"]

RECENT_DAYS = 30
"""Data that ended longer ago is a demo's or an archive's: under the system's time nobody has a recent event in it."""


@dataclass(frozen=True)
class ChosenClock:
    """A clock and why it was chosen.

    Attributes:
        clock: the choice. reason: one clause for the log.
    """

    clock: Clock
    reason: str


def choose_clock(option: ClockOption, as_of: int, now: float) -> ChosenClock:
    """What `--clock` means for one bundle.

    Args:
        option: 'auto' takes 'bundle' for data that ended more than RECENT_DAYS before `now`, else 'system'.
        as_of: End of the bundle's data, epoch seconds.
        now: The system's time, epoch seconds.
    """
    if option != "auto":
        return ChosenClock(option, f"--clock is '{option}'")
    days = int((now - as_of) // DAY)
    ended = f"the bundle's data ended on {iso(as_of)}, {days:,} days ago" if days > 0 else "the bundle's data is new"
    if now - as_of > RECENT_DAYS * DAY:
        return ChosenClock("bundle", f"{ended}, which is more than {RECENT_DAYS}")
    return ChosenClock("system", ended)


def iso(moment: int) -> str:
    """Epoch seconds as ISO 8601 in UTC, such as 2026-11-23T12:00:00Z."""
    return f"{datetime.datetime.fromtimestamp(moment, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
