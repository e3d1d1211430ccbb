"""`shoprank synonyms`: checks rules of synonyms and shows what they change, or writes candidates from a query log."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from components.shared.errors import InputError
from components.shared.search.config import SearchOptions
from components.shared.storage import write_text
from components.shared.wording import counted, printable
from pipelines.cli.console import console
from pipelines.cli.parameters import Config, Json, Mapping, ModelName, Out, Set, emit
from pipelines.cli.running import options_of
from pipelines.cli.searching import catalog_of, lines, search_options

if TYPE_CHECKING:
    from components.evaluate_search.synonym_effects import SynonymEffect


def synonyms(
    rules: Annotated[
        Path,
        typer.Argument(help="Rules, one per line: 'tp => toilet paper' or 'sofa, couch'. With --mine: file to write."),
    ],
    items: Annotated[str, typer.Option(help="Catalog that is searched. Default: that of the champion.")] = "",
    mine: Annotated[
        str, typer.Option(help="Events with searches: write the candidates that they show, to be reviewed.")
    ] = "",
    shoppers: Annotated[int, typer.Option(help="Least number of shoppers that show a candidate.", min=2)] = 5,
    mapping: Mapping = "",
    config: Config = None,
    set_: Set = None,
    out: Out = Path("out"),
    model_name: ModelName = "shop",
    as_json: Json = False,
) -> None:
    """Check rules of synonyms and show what they change; compile.search.synonyms applies them.

    With --mine, first write candidates from a log of searches; nothing is applied.
    """
    from components.evaluate_search.synonym_candidates import mine_synonyms
    from components.evaluate_search.synonym_effects import synonym_effects
    from components.evaluate_search.systems import catalog_search

    if mine and rules.exists():
        raise InputError(f"{rules} exists", "name a file that does not, so that no reviewed rules are lost")
    written = [] if mine else lines(rules, "rules")
    given = options_of(config, set_, mapping=mapping)
    catalog = catalog_of(items, given, out, model_name)
    options = search_options(given)
    search = catalog_search(catalog, SearchOptions(language=options.language))
    mined = None
    if mine:
        with console.status("reading the events"):
            mined = mine_synonyms(mine, given.get("data", {}), search, shoppers, options.synonyms)
        write_text(rules, mined.text())
        written = mined.text().splitlines()
    effects = synonym_effects(written, catalog, search)
    if not effects and mined is None:
        raise InputError(f"{rules} has no rule", "write one per line: 'tp => toilet paper' or 'sofa, couch'")
    if as_json and mined is not None:
        return emit({"candidates": [vars(one) for one in mined.candidates], "log": vars(mined.log), "rules": rules})
    if as_json:
        return emit([vars(effect) for effect in effects])
    _show(effects)
    if mined is not None:
        found = counted(len(mined.candidates), "candidate")
        console.print(
            f"{rules}: {found} of {mined.log.searches:,} searches, none applied; review the lines, then "
            f"shoprank synonyms {rules}", soft_wrap=True,
        )  # fmt: skip


def _show(effects: "Sequence[SynonymEffect]") -> None:
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("query", "items before", "after", "best with the rules"):
        table.add_column(heading, justify="right" if heading in {"items before", "after"} else "left")
    for effect in effects:
        table.add_row(
            printable(effect.text), f"{effect.before:,}", f"{effect.after:,}", printable(" | ".join(effect.best))
        )
    if effects:
        console.print(table)
    for effect in effects:
        for text in effect.unknown:
            console.print(Text.assemble(("  ! ", "yellow"), printable(f"no item has '{text}' ({effect.rule})")))
