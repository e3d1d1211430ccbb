"""`shoprank inspect`: what a source holds and how it would be read, without training."""

import dataclasses
import json
import shlex
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from components.ingest_events.inspection import Inspection, inspect_source
from components.shared.errors import InputError
from components.shared.schema.account import hints, told
from components.shared.schema.data_options import DataOptions
from components.shared.schema.mapping import SCHEMAS
from components.shared.schema.presets import over
from components.shared.wording import counted, printable
from pipelines.cli.console import console
from pipelines.cli.parameters import Config, GuessTypes, Items, Json, Mapping, Preset, Set, Users, emit
from pipelines.cli.running import options_of

_WIDTH = 40
"""Characters of a value in tables."""
_COLUMNS = 200
"""Columns that are shown beside those that are read."""


def inspect(
    source: Annotated[str, typer.Argument(help="File, folder, URI or glob of events.")],
    items: Items = "",
    users: Users = "",
    mapping: Mapping = "",
    preset: Preset = "",
    guess_types: GuessTypes = False,
    config: Config = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Show how a source would be read, from the beginning of some of its files; nothing is written."""
    options = options_of(config, set_, mapping=mapping, preset=preset, guess=guess_types).get("data", {})
    sources = {"events": source, "items": items, "users": users}
    read = DataOptions.read(options, "data")
    found = [inspect_source(uri, table, read) for table, uri in sources.items() if uri]
    problem = next(filter(None, map(_problem, found)), None)
    command = "" if problem else " ".join(
        ["shoprank run training", *_sources(found), *_options(config, set_ or []),
         *_reading(found, mapping, preset, guess_types)]
    )  # fmt: skip
    if as_json:
        emit({"tables": [dataclasses.asdict(one) for one in found], "command": command})
    else:
        for one in found:
            _show(one)
    if problem:
        raise problem
    if not as_json:
        console.print("Train on it with")
        console.print(f"  {command}", soft_wrap=True)


def _problem(one: Inspection) -> InputError | None:
    """Why a source cannot be trained on, None if it can."""
    if one.missing:
        name, columns = one.missing[0], list(one.columns)
        more = f" and {len(columns) - _COLUMNS:,} more" if len(columns) > _COLUMNS else ""
        return InputError(
            f"no column of '{one.uri}' seems to be {name}",
            f"map one of {', '.join(map(printable, columns[:_COLUMNS]))}{more}, like --mapping "
            f'\'{{"{name}": "theirs"}}\'; for CSV files without a header give data.columns',
        )
    if one.account.kept:
        return None
    account = one.account
    reasons = [f"{reason}: {lost}" for reason, lost in account.rejected.items()]
    if account.ignored:
        reasons.append(f"left out by event_types of the mapping: {account.ignored}")
    return InputError(
        f"no row of the beginning of '{one.uri}' can be read ({'; '.join(reasons) or 'there is none'})",
        "; ".join([*hints(account.rejected), "correct the data or its mapping"]),
    )


def _show(one: Inspection) -> None:
    formats = ", ".join(f"{files:,} {kind}" for kind, files in one.files.items())
    console.print(f"{one.table}: {formats}, {one.size / 1e6:,.1f} MB in {one.uri}", style="bold")
    _show_columns(one)
    for name, value in one.guessed.get("constants", {}).items():
        console.print(f"no column seems to be {name}: taken as {value} (guessed)")
    for word, kind in one.guessed.get("event_types", {}).items():
        console.print(f"event_type {printable(word)}: read as {kind} (guessed)")
    if one.missing:
        return
    account, of_files = one.account, sum(one.files.values())
    beginning = f"the beginning of {one.sampled:,} of {of_files:,} files" if of_files > 1 else "the beginning"
    span = f", from {one.span[0]} to {one.span[1]}" if one.span else ""
    console.print(f"\n{counted(account.rows, 'row')} in {beginning}: {account.kept:,} can be read{span}")
    for sentence in told({one.table: account}):
        console.print(Text.assemble(("  ! ", "yellow"), printable(sentence)))
    for row in one.rows:
        console.print("  " + ", ".join(f"{name} {_short(value)}" for name, value in row.items() if value is not None),
                      soft_wrap=True)  # fmt: skip
    for row in one.rejected:
        console.print(f"  rejected, {row['reason']}: {_short(row['row'], 2 * _WIDTH)}", style="dim", soft_wrap=True)
    console.print()


def _show_columns(one: Inspection) -> None:
    begin = "" if one.table == "events" else f"{one.table}."
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("column", "read as", "such as"):
        table.add_column(heading)
    left_out = 0
    for at, (column, values) in enumerate(one.columns.items()):
        ours = [name for name, theirs in one.mapping.items() if theirs == column]
        if not ours and column in SCHEMAS[one.table].names and f"{begin}{column}" not in one.mapping:
            ours = [column]
        if at >= _COLUMNS and not ours:
            left_out += 1
            continue
        read_as = [f"{name.removeprefix(begin)}{' (guessed)' if name in one.guessed else ''}" for name in ours]
        table.add_row(_short(column), ", ".join(read_as), ", ".join(map(_short, values)))
    console.print(table)
    if left_out:
        console.print(f"and {counted(left_out, 'column')} more")


def _sources(found: list[Inspection]) -> Iterable[str]:
    flags = {"data": "events", "items": "items", "users": "users"}
    sources = {one.table: one.uri for one in found}
    return [f"--{flag} {shlex.quote(sources[table])}" for flag, table in flags.items() if table in sources]


def _options(config: Path | None, words: list[str]) -> Iterable[str]:
    given = [("--config", str(config))] if config else []
    return [f"{flag} {shlex.quote(word)}" for flag, word in [*given, *(("--set", word) for word in words)]]


def _reading(found: list[Inspection], mapping: str, preset: str, guess_types: bool) -> Iterable[str]:
    """The flags that say how it is read: what was guessed, and what was given beside --config and --set."""
    form = preset or next((one.preset for one in found if one.preset), "")
    merged: dict[str, Any] = {}
    for one in found:
        merged = over(merged, one.guessed)
    merged = over(merged, options_of(None, None, mapping=mapping).get("data", {}).get("mapping", {}))
    text = json.dumps(merged, ensure_ascii=False)
    # What a terminal would not show as it is can be written in ASCII.
    text = text if text.isprintable() else json.dumps(merged).replace("\x7f", "\\u007f")
    return [
        *([f"--preset {form}"] if form else []),
        *([f"--mapping {shlex.quote(text)}"] if merged else []),
        *(["--guess-types"] if guess_types else []),
    ]


def _short(value: Any, width: int = _WIDTH) -> str:
    if isinstance(value, float):
        value = float(f"{value:.6g}")
    text = f"{value:%F %T}" if isinstance(value, datetime) else value
    text = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False, default=str)
    text = text if len(text) <= width else f"{text[: width - 1]}…"
    return printable(text)
