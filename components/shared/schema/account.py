"""The account of an ingestion: what was read, what was left out and why, so that the numbers add up."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.shared.schema.event_words import event_type_of
from components.shared.schema.time_words import looks_like
from components.shared.storage import read_json, write_json
from components.shared.wording import counted

UNKNOWN_TYPE, UNREAD_TIME = "event_type is unknown", "timestamp cannot be read"
"""Rejection reasons of ingest_events."""

FILE = "account.json"
"""In the output `rejected` of ingest_events."""


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Rows that were rejected for a reason, or lost a value."""

    rows: int
    values: Mapping[str, int] = field(default_factory=dict)
    """The most common raw values, and their rows; values that are missing in the source are not listed."""

    def __str__(self) -> str:
        return f"{self.rows:,}{self.shown}"

    @property
    def shown(self) -> str:
        """The values and their rows in brackets; '' if there are none."""
        values = ", ".join(f"{value!r} {rows:,}" for value, rows in self.values.items())
        return f" ({values})" if values else ""


@dataclass(frozen=True, kw_only=True)
class TableAccount:
    """One table. `rows` is `kept`, `ignored` and the rows of `rejected`."""

    rows: int
    """Read from files, elements of lists as rows of their own; of a table that is made from the events, its rows."""
    kept: int
    added: int = 0
    """Rows beyond those of the files, because a list of items is a row for each."""
    ignored: Lost | None = None
    """Events whose type the mapping leaves out."""
    rejected: Mapping[str, Lost] = field(default_factory=dict)
    """Reason -> rows."""
    unread: Mapping[str, Lost] = field(default_factory=dict)
    """Optional column -> kept rows whose value cannot be read, and is unknown."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Mapped column or path without a value in any row -> contract column."""
    files: int = 0
    """Files read; 0 for a table without files."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> files that were not read."""
    skipped_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Reason -> some of these files."""


Account = dict[str, TableAccount]
"""Table (events, items, users) -> its account."""


def write_account(account: Mapping[str, TableAccount], folder: Path) -> None:
    """Write account.json into the folder of rejected rows."""
    write_json(folder / FILE, {table: dataclasses.asdict(one) for table, one in account.items()})


def read_account(folder: Path) -> Account:
    """Read account.json; {} where an earlier release wrote none."""
    if not (folder / FILE).exists():
        return {}
    return {table: _table(raw) for table, raw in read_json(folder / FILE).items()}


def _table(raw: dict[str, Any]) -> TableAccount:
    lost = {name: {key: Lost(**one) for key, one in raw[name].items()} for name in ("rejected", "unread")}
    names = {reason: tuple(paths) for reason, paths in raw["skipped_names"].items()}
    ignored = Lost(**raw["ignored"]) if raw.get("ignored") else None
    return TableAccount(**{**raw, **lost, "ignored": ignored, "skipped_names": names})


def hints(rejected: Mapping[str, Lost]) -> list[str]:
    """What rejected event types and times probably are, and the option that reads them."""
    types = {word: event_type_of(word) for word in _values(rejected, UNKNOWN_TYPE)}
    pairs = ", ".join(f'"{word}": "{kind}"' for word, kind in types.items() if kind)
    times = {text: looks_like(text) for text in _values(rejected, UNREAD_TIME)}
    return [
        *([f"probably {{{pairs}}}: give them as event_types of the mapping, or --guess-types"] if pairs else []),
        *(f"timestamp {text!r} looks like {meaning}" for text, meaning in times.items() if meaning),
    ]


def _values(rejected: Mapping[str, Lost], reason: str) -> list[str]:
    return list(rejected[reason].values) if reason in rejected else []


def kept(account: Mapping[str, TableAccount]) -> str:
    """What was kept of the files that were read, or the number of events of a source without files.

    >>> kept({"events": TableAccount(rows=3, kept=2, files=1)})
    '2 events of 3 rows in 1 file'
    """
    parts = [
        f"{counted(one.kept, table.removesuffix('s'))} of {counted(one.rows - one.added, 'row')} in "
        f"{counted(one.files, 'file')}" for table, one in account.items() if one.files
    ]  # fmt: skip
    return ", ".join(parts) or counted(account["events"].kept, "event")


def told(account: Mapping[str, TableAccount]) -> list[str]:
    """Sentences about what was not kept as it was; [] if all of it was.

    >>> told({"events": TableAccount(rows=3, kept=2, rejected={"user_id is null": Lost(rows=1, values={"NULL": 1})})})
    ["events: 1 of 3 rows rejected: user_id is null: 1 ('NULL' 1)"]
    """
    lines = []
    for table, one in account.items():
        for reason, files in one.skipped.items():
            names = ", ".join(path.rsplit("/", 1)[-1] for path in one.skipped_names.get(reason, ()))
            lines.append(f"{table}: {counted(files, 'file')} not read: {reason}: {names}")
        if one.added:
            listed = counted(one.rows - one.added, "row")
            lines.append(f"{table}: {listed} of the files read as {one.rows:,}, one for each item of their lists")
        if one.ignored:
            left_out = f"{one.ignored.rows:,} of {counted(one.rows, 'row')}"
            lines.append(f"{table}: {left_out} left out by event_types of the mapping")
        lines += [f"{table}: no row has a value of '{theirs}' ({ours})" for theirs, ours in one.absent.items()]
        rejected = sum(lost.rows for lost in one.rejected.values())
        if rejected:
            reasons = "; ".join(f"{reason}: {lost}" for reason, lost in one.rejected.items())
            lines.append(f"{table}: {rejected:,} of {counted(one.rows, 'row')} rejected: {reasons}")
            lines += [f"{table}: {hint}" for hint in hints(one.rejected)]
        lines += [f"{table}: {column} cannot be read in {counted(lost.rows, 'row')}{lost.shown}, taken as unknown"
                  for column, lost in one.unread.items()]  # fmt: skip
    return lines
