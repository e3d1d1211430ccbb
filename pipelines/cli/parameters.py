"""Options shared by several commands."""

from pathlib import Path
from typing import Annotated, Any

import typer

from components.shared.errors import InputError
from components.shared.release.registry import Root, is_object_store

Out = Annotated[Path, typer.Option("--out", help="Folder for runs, registry, keys and reports.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Size = Annotated[
    str, typer.Option("--size", help="tiny, small or full; sets the defaults of other options. Default: small.")
]
Data = Annotated[str, typer.Option("--data", help="complete-journey, or a file, folder or URI of events.")]
Items = Annotated[str, typer.Option("--items", help="File, folder or URI of the catalog.")]
Users = Annotated[str, typer.Option("--users", help="File, folder or URI of the users.")]
Mapping = Annotated[str, typer.Option("--mapping", help="JSON, or a JSON or YAML file: {our column: their column}.")]
Preset = Annotated[
    str,
    typer.Option(
        "--preset",
        help="Mapping of a public form of data: ga4, otto, retailrocket, shopify-orders, taobao-userbehavior.",
    ),
]
GuessTypes = Annotated[
    bool, typer.Option("--guess-types", help="Read usual words for event types, such as add_to_cart, pv and order.")
]
Config = Annotated[Path | None, typer.Option("--config", help="YAML or JSON file of options (see `shoprank config`).")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="path=value, such as ranker.hot_candidates=20; wins over --config. May be repeated."),
]
ModelName = Annotated[str, typer.Option("--model-name", help="Name in the registry.")]


def existing_output(out: Path) -> Path:
    """The output folder, for commands that only read it.

    Raises:
        InputError: it does not exist.
    """
    if not out.is_dir():
        raise _nothing(out)
    return out


def existing_registry(out: Path, registry: str = "") -> Root:
    """The given registry, or that of the output folder, for commands that make none.

    Raises:
        InputError: it is a folder that does not exist.
    """
    if registry:
        if "://" not in registry and not is_object_store(registry) and not Path(registry).is_dir():
            raise InputError(f"registry '{registry}' does not exist", "give the folder or s3:// URI of a registry")
        return registry
    if not (out / "registry").is_dir():
        raise _nothing(out)
    return out / "registry"


def _nothing(out: Path) -> InputError:
    fix = f"give the --out of an earlier run, or train first: shoprank run training --out {out}"
    return InputError(f"there is no shoprank output in '{out}'", fix)


def emit(value: Any) -> None:
    """Print JSON for programs: one document on standard output, without colours or line breaks of a terminal."""
    import json

    print(json.dumps(value, ensure_ascii=False, default=str))
