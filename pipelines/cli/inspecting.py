"""`shoprank inspect`: what a source holds and how it would be read, without training."""

import dataclasses
import json
import shlex
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from components.ingest_events.inspection import Inspection, inspect_source
from components.shared.errors import InputError
from components.shared.schema.account import told
from components.shared.schema.data_options import DataOptions
from components.shared.schema.mapping import SCHEMAS
from components.shared.schema.presets import over
from components.shared.wording import counted
from pipelines.cli.console import console
from pipelines.cli.parameters import Config, GuessTypes, Items, Json, Mapping, Preset, Set, Users, emit
from pipelines.cli.running import options_of

_WIDTH = 40
"""Characters of a value in tables."""


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
    command = _command(found, options)
    if as_json:
        return emit({"tables": [dataclasses.asdict(one) for one in found], "command": command})
    for one in found:
        _show(one)
    if missing := [(one, name) for one in found for name in one.missing]:
        one, name = missing[0]
        raise InputError(
            f"no column of '{one.uri}' seems to be {name}",
            f'map one of {", ".join(one.columns)}, like --mapping \'{{"{name}": "theirs"}}\'; for CSV files without a '
            "header give data.columns",
        )
    console.print("Train on it with")
    console.print(f"  {command}", soft_wrap=True)


def _show(one: Inspection) -> None:
    formats = ", ".join(f"{files:,} {kind}" for kind, files in one.files.items())
    console.print(f"{one.table}: {formats}, {one.size / 1e6:,.1f} MB in {one.uri}", style="bold")
    begin = "" if one.table == "events" else f"{one.table}."
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("column", "read as", "such as"):
        table.add_column(heading)
    for column, values in one.columns.items():
        ours = [name for name, theirs in one.mapping.items() if theirs == column]
        if not ours and column in SCHEMAS[one.table].names and f"{begin}{column}" not in one.mapping:
            ours = [column]
        read_as = [f"{name.removeprefix(begin)}{' (guessed)' if name in one.guessed else ''}" for name in ours]
        table.add_row(_short(column), ", ".join(read_as), ", ".join(map(_short, values)))
    console.print(table)
    for name, value in one.guessed.get("constants", {}).items():
        console.print(f"no column seems to be {name}: taken as {value} (guessed)")
    for word, kind in one.guessed.get("event_types", {}).items():
        console.print(f"event_type {word}: read as {kind} (guessed)")
    if one.missing:
        return
    account, of_files = one.account, sum(one.files.values())
    beginning = f"the beginning of {one.sampled:,} of {of_files:,} files" if of_files > 1 else "the beginning"
    span = f", from {one.span[0]} to {one.span[1]}" if one.span else ""
    console.print(f"\n{counted(account.rows, 'row')} in {beginning}: {account.kept:,} can be read{span}")
    for sentence in told({one.table: account}):
        console.print(Text.assemble(("  ! ", "yellow"), sentence))
    for row in one.rows:
        console.print("  " + ", ".join(f"{name} {_short(value)}" for name, value in row.items() if value is not None),
                      soft_wrap=True)  # fmt: skip
    for row in one.rejected:
        console.print(f"  rejected, {row['reason']}: {_short(row['row'], 2 * _WIDTH)}", style="dim", soft_wrap=True)
    console.print()


def _command(found: list[Inspection], options: dict[str, Any]) -> str:
    """The command that trains on it."""
    form = options.get("preset") or next((one.preset for one in found if one.preset), "")
    mapping: dict[str, Any] = {}
    for one in found:
        mapping = over(mapping, one.guessed)
    mapping = over(mapping, options.get("mapping", {}))
    flags = {"data": "events", "items": "items", "users": "users"}
    sources = {one.table: one.uri for one in found}
    words = [f"--{flag} {shlex.quote(sources[table])}" for flag, table in flags.items() if table in sources]
    words += [f"--preset {form}"] if form else []
    words += [f"--mapping {shlex.quote(json.dumps(mapping, ensure_ascii=False))}"] if mapping else []
    words += ["--guess-types"] if options.get("guess_types") else []
    return " ".join(["shoprank run training", *words])


def _short(value: Any, width: int = _WIDTH) -> str:
    if isinstance(value, float):
        value = float(f"{value:.6g}")
    text = f"{value:%F %T}" if isinstance(value, datetime) else value
    text = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False, default=str)
    return text if len(text) <= width else f"{text[: width - 1]}…"
