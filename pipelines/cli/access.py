"""`shoprank access-key`: a key for a client of the predictor."""

import json
import re
from typing import Annotated

import typer

from components.shared.access_keys import CLIENT_NAME, SCOPES, key_hash, new_key
from components.shared.errors import InputError
from pipelines.cli.parameters import Json, emit


def access_key(
    client: Annotated[str, typer.Argument(help="Name of the client.")],
    scopes: Annotated[str, typer.Option(help=f"What it may call: {', '.join(SCOPES)}; separated by commas.")] = "ask",
    per_second: Annotated[float | None, typer.Option(help="Requests per second. Default: no limit.")] = None,
    per_day: Annotated[int | None, typer.Option(help="Requests per day of UTC. Default: no limit.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key: it is printed once, with the entry of the access file, which holds only its hash."""
    if not re.fullmatch(CLIENT_NAME, client):
        raise InputError(
            f"CLIENT is '{client}'", "use 1 to 80 letters, digits, spaces and ._@:-, a letter or digit first"
        )
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        raise InputError(f"--scopes is '{scopes}'", f"use some of: {', '.join(SCOPES)}")
    for flag, value in (("--per-second", per_second), ("--per-day", per_day)):
        if value is not None and value <= 0:
            raise InputError(f"{flag} is {value:g}", "give a number above 0, or leave it out")
    key = new_key()
    limits = {name: value for name, value in (("per_second", per_second), ("per_day", per_day)) if value is not None}
    entry = {"name": client, "keys": [key_hash(key)], "scopes": wanted, **({"limits": limits} if limits else {})}
    if as_json:
        return emit({"key": key, "client": entry})
    # Plain text: the entry is for a file, and a key must not be wrapped.
    print(f"# The key of {client}, shown only now: {key}")
    print("# What the access file holds of it, below `clients:`")
    print(f'  - name: {json.dumps(client)}\n    keys: ["{key_hash(key)}"]\n    scopes: [{", ".join(wanted)}]')
    if limits:
        print(f"    limits: {{{', '.join(f'{name}: {value:g}' for name, value in limits.items())}}}")
