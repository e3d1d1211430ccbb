"""`shoprank rules`: checks a file of rules and shows what they change."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from components.shared.errors import InputError
from components.shared.wording import counted, printable
from pipelines.cli.console import console
from pipelines.cli.parameters import Json, ModelName, Out, emit, existing_registry

if TYPE_CHECKING:
    from components.evaluate_search.rule_effects import RuleEffect, RuleEffects


def rules(
    file: Annotated[Path | None, typer.Argument(help="YAML or JSON file of rules.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of a bundle. Default: the champion of --out.")] = None,
    queries: Annotated[
        str,
        typer.Option(
            help="Queries, the most frequent first: a .txt file with one per line, or as for search-eval. Default: "
            "names of the largest categories."
        ),
    ] = "",
    top: Annotated[int, typer.Option(help="Number of these queries that are asked.", min=1)] = 50,
    k: Annotated[int, typer.Option(help="Items of an answer.", min=1, max=500)] = 10,
    at: Annotated[str, typer.Option(help="Date or time at which the rules should apply. Default: now.")] = "",
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the file, for editors.")] = False,
    out: Out = Path("out"),
    model_name: ModelName = "shop",
    public_key: Annotated[
        Path | None, typer.Option(help="Public key to verify the bundle. Default: that of --out, if it has one.")
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Check a file of rules and show what it changes in the answers; `shoprank serve --rules` applies it."""
    from components.shared.recommender.rules.config import Merchandising
    from components.shared.recommender.rules.reading import read_rules

    if schema:
        print(json.dumps(Merchandising.model_json_schema(), indent=2, ensure_ascii=False))
        return
    if file is None:
        raise InputError("no file of rules is given", "give its path, or --schema for what it may contain")
    from components.evaluate_search.rule_effects import rule_effects
    from pipelines.cli.searching import champion_bundle, own_key

    given, moment = read_rules(file), _moment(at)
    key = str(public_key or "") if bundle else own_key(public_key, out)
    folder = bundle or champion_bundle(existing_registry(out), model_name)
    found = rule_effects(given, folder, _queries(queries)[:top], k, moment, key)
    if as_json:
        return emit({**vars(found), "effects": [vars(effect) for effect in found.effects]})
    _show(found)


def _moment(text: str) -> float:
    """Epoch seconds of --at."""
    try:
        moment = datetime.fromisoformat(text) if text else datetime.now(UTC)
    except ValueError as error:
        raise InputError(f"--at is '{text}'", "write 2026-06-01, or 2026-06-01T08:00:00+08:00") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _queries(source: str) -> list[str]:
    """Distinct queries, those of most rows first."""
    from collections import Counter

    from components.evaluate_search.judgment_files import read_judgment_rows
    from pipelines.cli.searching import lines

    if not source or source.endswith(".txt"):
        return [line.strip() for line in lines(Path(source), "queries") if line.strip()] if source else []
    rows = read_judgment_rows(source)
    rows.require(source, "query")
    asked = Counter(str(row[0]).strip() for row in rows.rows if row[0] is not None)
    return [query for query, _ in asked.most_common() if query]


def _show(found: "RuleEffects") -> None:
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("query", "rules", "what changes"):
        table.add_column(heading)
    for effect in found.effects:
        query = printable(effect.query) or "(recommendations)"
        table.add_row(query, printable(", ".join(effect.rules)) or "(fences)", "\n".join(_changes(effect, found.title)))
    if found.effects:
        console.print(table)
    console.print(f"{counted(len(found.effects), 'answer')} of {found.queries:,} changed or redirected")
    notes = [f"rule '{name}': the catalog lacks {', '.join(lacking)}" for name, lacking in found.unknown.items()]
    notes += [f"rule '{name}' acts in none of these answers at that time" for name in found.idle]
    for note in notes:
        console.print(Text.assemble(("  ! ", "yellow"), printable(note)), soft_wrap=True)


def _changes(effect: "RuleEffect", title: dict[str, str]) -> list[str]:
    """Lines about one answer, the positions of items without and with the rules."""
    place = {item: at for at, item in enumerate(effect.items, 1)}
    said = [f"opens {effect.redirect}"] if effect.redirect else []
    said += [f"new → {place[item]}  {title[item]}" for item in effect.entered]
    said += [f"{old} → {new}  {title[item]}" for item, (old, new) in effect.moved.items()]
    said += [f"gone  {title[item]}" for item in effect.left]
    return [printable(line) for line in said] or ["no item moved"]
