"""`shoprank refresh`: the catalog pipeline on this machine; the champion serves today's items without training."""

from pathlib import Path
from typing import Annotated

import typer

from components.shared.release.registry import CHAMPION, Registry
from pipelines.cli.console import StageBars, console


def refresh(
    items: Annotated[str, typer.Argument(help="Parquet file or folder of items, or its URI (item_id, title, ...)")],
    out: Annotated[Path, typer.Option("--out", help="output folder that holds registry/")] = Path("out"),
    arg: Annotated[list[str] | None, typer.Option(help="further pipeline argument, key=value")] = None,
) -> None:
    """Bring new and changed items into the champion without training; prove and release the result."""
    from pipelines.local.runs import exclusive, run_local
    from pipelines.submitting import parse_arguments

    place = out.resolve()
    arguments = {
        "items_source": items if "://" in items else str(Path(items).resolve()),
        "registry": str(place / "registry"),
        "signing_key": str(place / "keys" / "signing.pem"),
        **parse_arguments("catalog", arg or []),
    }
    with exclusive(place), StageBars() as bars:
        run_local("catalog", arguments, place, bars.watch)
    version = Registry(place / "registry").aliases(str(arguments.get("model_name", "shop")))[CHAMPION]
    console.print(f"champion is {version}", highlight=False)
