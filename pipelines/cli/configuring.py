"""`shoprank config`: every option with its default and description, or the schema of a configuration file."""

from pathlib import Path
from typing import Annotated

import typer

from components.shared.errors import InputError
from pipelines.cli.console import console
from pipelines.cli.parameters import Config, Set, Size

SCHEMA = Path(__file__).parents[1] / "compiled" / "config.schema.json"
"""The JSON Schema, checked in for editors and compared by `shoprank compile --check`."""


def config(
    size: Size = "small",
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema instead of YAML.")] = False,
    check: Config = None,
    set_: Set = None,
) -> None:
    """Print every option of a run with its default; with --config or --set, only validate those options."""
    from pipelines import config as options

    if check is not None or set_:
        options.given_options(check, set_ or [])
        console.print("all options are valid")
        return
    print(options.schema() if schema else options.as_yaml(size), end="")


def check_schema(check: bool) -> Path:
    """Write the schema (or, with `check`, only compare) and return its path.

    Raises:
        InputError: with `check`, the file is stale.
    """
    from components.shared.storage import write_text
    from pipelines.config import schema

    text = schema()
    if check and (not SCHEMA.exists() or SCHEMA.read_text(encoding="utf-8") != text):
        raise InputError(f"{SCHEMA} is stale", "run `shoprank compile` and commit the result")
    if not check:
        write_text(SCHEMA, text)
    return SCHEMA
