"""`shoprank search-queries`: queries with judgments made from a catalog, for a shop that has none."""

from pathlib import Path
from typing import Annotated

import typer

from components.shared.errors import InputError
from pipelines.cli.console import console
from pipelines.cli.parameters import Config, Json, Mapping, ModelName, Out, Set, emit
from pipelines.cli.running import options_of
from pipelines.cli.searching import catalog_of


def search_queries(
    judgments: Annotated[Path, typer.Argument(help="Parquet file to write, for search-eval --judgments.")],
    items: Annotated[str, typer.Option(help="Catalog. Default: that of the champion.")] = "",
    count: Annotated[int, typer.Option(help="Queries of each kind: title, mistyped, category.", min=1)] = 200,
    mapping: Mapping = "",
    config: Config = None,
    set_: Set = None,
    out: Out = Path("out"),
    model_name: ModelName = "shop",
    as_json: Json = False,
) -> None:
    """Make judged queries from titles and categories, with which versions of a search can be compared."""
    from components.evaluate_search.made_queries import write_made_queries

    if judgments.exists():
        raise InputError(f"{judgments} exists", "name a file that does not, so that no judgments are lost")
    catalog = catalog_of(items, options_of(config, set_, mapping=mapping), out, model_name)
    made = write_made_queries(catalog, count, judgments)
    if as_json:
        return emit({"queries": made, "judgments": judgments.resolve()})
    told = ", ".join(f"{number:,} of kind {kind}" for kind, number in made.items())
    console.print(f"{judgments}: {told}; they compare versions and say nothing of quality", soft_wrap=True)
