"""`shoprank search-eval`: measures a search on judgments, clicks or queries."""

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from components.shared.errors import InputError
from components.shared.release.bundle import MANIFEST
from components.shared.release.registry import CHAMPION, Registry, Root
from components.shared.release.signing import PRIVATE_FILE, public_path
from components.shared.search.config import SearchOptions
from components.shared.wording import printable
from pipelines.cli.console import console
from pipelines.cli.parameters import Config, Json, Mapping, ModelName, Out, Set, emit, existing_registry
from pipelines.cli.running import options_of, own_registry

if TYPE_CHECKING:
    from components.evaluate_search.catalog import SearchCatalog

FOLDER = "search-evaluation"
"""Folder of the results in that of --out."""


def search_eval(
    judgments: Annotated[
        str,
        typer.Option(help="Columns query, item_id, grade; or query, item_id, clicks[, impressions]; or query alone."),
    ],
    items: Annotated[str, typer.Option(help="Catalog that is searched without a model. Default: the champion.")] = "",
    mapping: Mapping = "",
    config: Config = None,
    set_: Set = None,
    out: Out = Path("out"),
    champion: Annotated[
        Path | None, typer.Option(help="Bundle to compare with, or an output folder whose champion is compared with.")
    ] = None,
    model_name: ModelName = "shop",
    public_key: Annotated[
        Path | None, typer.Option(help="Public key to verify bundles. Default: that of --out, if it has one.")
    ] = None,
    relevant_grade: Annotated[float, typer.Option(help="Lowest grade of a relevant item.")] = 1.0,
    ablation: Annotated[bool, typer.Option("--ablation", help="Also measure the search without each step.")] = False,
    as_json: Json = False,
) -> None:
    """Measure the search on judgments or clicks beside plain BM25 and, with --champion, another model."""
    from components.evaluate_search.config import SearchEvaluationOptions
    from components.evaluate_search.evaluate import Searched, evaluate_search

    options = SearchEvaluationOptions.read({"relevant_grade": relevant_grade, "ablation": ablation}, "")
    given = options_of(config, set_, mapping=mapping)
    bundle = None if items else champion_bundle(existing_registry(out, own_registry(given)), model_name)
    searched = Searched(
        items=items, data=given.get("data", {}), bundle=bundle, search=search_options(given),
        champion=_compared(champion, model_name), public_key=own_key(public_key, out),
    )  # fmt: skip
    folder = out.resolve() / FOLDER
    page = folder / "report.html"
    with console.status("") as status:
        found = evaluate_search(
            judgments, searched, folder, page, options,
            lambda share, note: status.update(f"{share:.0%} {note}"),
        )  # fmt: skip
    if as_json:
        return emit({**found.result, "report": page})
    _show(found.result, found.notes)
    console.print(f"report: {page}", soft_wrap=True)


def search_options(given: MappingOf[str, Any]) -> SearchOptions:
    """The section compile.search of given options."""
    return SearchOptions.read((given.get("compile") or {}).get("search") or {}, "compile.search")


def lines(path: Path, kind: str) -> list[str]:
    """Lines of a text file of some kind.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"the {kind} {path} cannot be read: {error.strerror}", "give a text file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the {kind} {path} are not UTF-8", "save the file in UTF-8") from error


def champion_bundle(registry: Root, model_name: str) -> Path:
    """The champion's bundle; an error if there is none."""
    return Registry(registry).resolve(f"{model_name}/{CHAMPION}")


def catalog_of(items: str, given: MappingOf[str, Any], out: Path, model_name: str) -> "SearchCatalog":
    """The catalog of --items, or else that of the champion in an output folder.

    Args:
        items: File, folder, URI or glob; '': the champion's.
        given: Configuration, of which `data` says how the items are read, and `registry` where the champion is.
        out: Output folder.
        model_name: Name in its registry.
    """
    from components.evaluate_search.catalog import bundle_catalog, items_catalog

    if items:
        return items_catalog(items, given.get("data", {}))
    return bundle_catalog(champion_bundle(existing_registry(out, own_registry(given)), model_name))


def _compared(folder: Path | None, model_name: str) -> Path | None:
    """The bundle of --champion.

    Raises:
        InputError: the folder is neither a bundle nor an output folder.
    """
    if folder is None or (folder / MANIFEST).exists():
        return folder
    if not (folder / "registry").is_dir():
        raise InputError(
            f"--champion {folder} contains neither a bundle nor a registry",
            "give the folder of a bundle, or the --out of a run",
        )
    return champion_bundle(folder / "registry", model_name)


def own_key(given: Path | None, out: Path) -> str:
    """The given public key, or that of an output folder; '' if it has none."""
    own = public_path(out / "keys" / PRIVATE_FILE)
    return str(given or (own if own.exists() else ""))


def _show(result: MappingOf[str, Any], notes: Sequence[str]) -> None:
    from components.evaluate_search.report import COLUMNS
    from components.evaluate_search.systems import PRODUCT

    table = Table(show_edge=False, pad_edge=False)
    others = result["differences"]
    for heading in ("system", *COLUMNS.values(), *(f"nDCG@10 minus {other}" for other in others)):
        table.add_column(heading, justify="left" if heading == "system" else "right")
    for name, found in result["systems"].items():
        figures = ["–" if found[metric] is None else f"{found[metric]:.4f}" for metric in COLUMNS]
        gains = [_difference(difference) if name == PRODUCT else "" for difference in others.values()]
        table.add_row(name, *figures, *gains)
    console.print(table)
    scored, queries = result["scored_queries"], result["queries"]
    if others:
        console.print(f"means over {scored:,} queries with a relevant item; zero results over all {queries:,}")
    if similarity := result.get("champion_similarity"):
        console.print(
            f"against the champion: overlap@10 {similarity['overlap_at_10']:.4f}, rank-biased overlap "
            f"{similarity['rank_biased_overlap']:.4f}, churn {similarity['churn']:.4f}, over {queries:,} queries"
        )
    if ablation := result.get("ablation"):
        _show_ablation(ablation)
    for note in notes:
        console.print(Text.assemble(("  ! ", "yellow"), printable(note)), soft_wrap=True)


def _show_ablation(ablation: MappingOf[str, Any]) -> None:
    from components.evaluate_search.report import COLUMNS

    table = Table(show_edge=False, pad_edge=False)
    for heading in ("without", COLUMNS["ndcg_at_10"], "minus the whole search", COLUMNS["zero_result_rate"]):
        table.add_column(heading, justify="left" if heading == "without" else "right")
    for step, found in sorted(ablation.items(), key=lambda entry: entry[1]["difference"]["mean"]):
        figures = f"{found['ndcg_at_10']:.4f}", _difference(found["difference"]), f"{found['zero_result_rate']:.4f}"
        table.add_row(step.replace("_", " "), *figures)
    console.print(table)


def _difference(found: MappingOf[str, Any]) -> str:
    return f"{found['mean']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})"
