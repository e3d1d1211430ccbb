"""The current time for requests without a timestamp: system time, or the end of the bundle's data."""

import datetime
from dataclasses import dataclass
from typing import Literal

from components.shared.features.spec import DAY

Clock = Literal["bundle", "system"]
ClockOption = Literal["auto", "bundle", "system"]

RECENT_DAYS = 30
"""Older data is from a demo or an archive: with the system time, no shopper would have recent events."""


@dataclass(frozen=True)
class ChosenClock:
    """A clock and why it was chosen.

    Attributes:
        clock: the clock to use. reason: explanation for the log.
    """

    clock: Clock
    reason: str


def choose_clock(option: ClockOption, as_of: int, now: float) -> ChosenClock:
    """Choose the clock of a bundle.

    Args:
        option: 'auto' is 'bundle' for data that ended more than RECENT_DAYS before `now`, else 'system'.
        as_of: End of the bundle's data, epoch seconds.
        now: The system's time, epoch seconds.
    """
    if option != "auto":
        return ChosenClock(option, f"--clock is '{option}'")
    days = int((now - as_of) // DAY)
    ended = f"the bundle's data ended on {iso(as_of)}, {days:,} days ago" if days > 0 else "the bundle's data is recent"
    if now - as_of > RECENT_DAYS * DAY:
        return ChosenClock("bundle", f"{ended}, which is more than {RECENT_DAYS}")
    return ChosenClock("system", ended)


def iso(seconds: int) -> str:
    """Epoch seconds as ISO 8601 in UTC, such as 2026-11-23T12:00:00Z."""
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
