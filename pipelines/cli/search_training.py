"""`shoprank encode-text` and `shoprank search-train`: the learned parts of a search."""

from collections import abc
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from components.shared.errors import InputError
from components.shared.release.bundle import MANIFEST
from pipelines.cli.console import console
from pipelines.cli.parameters import Config, Json, Mapping, Set, emit
from pipelines.cli.running import absolute_source, options_of


def encode_text(
    encoder: Annotated[str, typer.Argument(help="Folder of a sentence-transformers or ONNX model, or package:NAME.")],
    out: Annotated[Path, typer.Option(help="Folder to write; compile.search.encoder names it.")] = Path("out/encoder"),
    max_tokens: Annotated[int, typer.Option(help="Tokens of a text that are read.")] = 64,
    quantise: Annotated[bool, typer.Option(help="Store weights as int8.")] = True,
    query_prefix: Annotated[str, typer.Option(help="Put before a query, such as 'query: ' for e5.")] = "",
    item_prefix: Annotated[str, typer.Option(help="Put before an item's text, such as 'passage: ' for e5.")] = "",
    chinese: Annotated[
        bool | None, typer.Option(help="Encode texts with Chinese. Default: if the vocabulary has Chinese words.")
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Factor of similarities. Default: as of the shipped relevance model's encoder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a text encoder, with which a search finds and ranks items by what they mean."""
    from components.encode_text.config import EncoderOptions
    from components.encode_text.export import export_encoder

    given = {"query_prefix": query_prefix, "item_prefix": item_prefix, "chinese": chinese, "scale": scale}
    options = EncoderOptions.read({"max_tokens": max_tokens, "quantise": quantise, **given}, "")
    with console.status("exporting"):
        found = export_encoder(encoder, out.resolve(), options)
    if as_json:
        return emit({**found, "encoder": out.resolve()})
    console.print(
        f"{out}: {found['dim']:.0f} dimensions, {found['encoder_mb']:.1f} MB, cosine with the model "
        f"{found['agreement']:.3f}", soft_wrap=True,
    )  # fmt: skip


def search_train(
    judgments: Annotated[str, typer.Option(help="Columns query, item_id, grade; or query, item_id, clicks.")],
    items: Annotated[str, typer.Option(help="Catalog that is searched. Default: that of --bundle.")] = "",
    bundle: Annotated[Path | None, typer.Option(help="Bundle whose search is taught.")] = None,
    encoder: Annotated[str, typer.Option(help="Folder or URI that encode-text wrote, with --items.")] = "",
    folds: Annotated[int, typer.Option(help="Parts of the queries for cross-validation.")] = 5,
    least_queries_for_trees: Annotated[
        int, typer.Option(help="Judged queries from which on LambdaMART is considered beside the linear model.")
    ] = 300,
    mapping: Mapping = "",
    config: Config = None,
    set_: Set = None,
    out: Annotated[Path, typer.Option(help="File to write; compile.search.relevance names it.")] = Path(
        "out/relevance.json"
    ),
    as_json: Json = False,
) -> None:
    """Learn from judgments or clicks what ranks the items that a query finds."""
    from components.train_relevance.config import RelevanceOptions
    from components.train_relevance.train import Searched, train_relevance

    if bool(items) == (bundle is not None):
        raise InputError("give either --items or --bundle", "--items CATALOG, or --bundle FOLDER")
    if bundle is not None and not (bundle / MANIFEST).exists():
        raise InputError(f"--bundle {bundle} is no bundle", "give the folder of a version in a registry")
    given = options_of(config, set_, mapping=mapping)
    chosen = {"folds": folds, "least_queries_for_trees": least_queries_for_trees}
    options = RelevanceOptions.read(chosen | ({"encoder": absolute_source(encoder)} if encoder else {}), "")
    searched = Searched(items=items, data=given.get("data", {}), bundle=bundle)
    with console.status("") as status:
        watch = partial(_watched, status)
        model = train_relevance(judgments, searched, out.resolve(), options, watch)
    if as_json:
        return emit({"weights": dict(model.weights), "about": dict(model.about), "model": out.resolve()})
    about = model.about
    mean, low, high = about["gain"]
    console.print(
        f"nDCG@10 {about['ndcg_at_10']:.4f}, cross-validated over {about['queries']:,} queries; by the score of the "
        f"words {about['words_ndcg_at_10']:.4f}: {mean:+.4f} ({low:+.4f} to {high:+.4f})", soft_wrap=True,
    )  # fmt: skip
    if "lambdamart_ndcg_at_10" in about:
        console.print(f"  linear {about['linear_ndcg_at_10']:.4f}, LambdaMART {about['lambdamart_ndcg_at_10']:.4f}")
    if "personal_showings" in about:
        console.print(f"  {_personal(about, options.least_showings)}", soft_wrap=True)
    if low <= 0:
        console.print("  ! the interval includes 0: give more judged queries before it is used", soft_wrap=True)
    console.print(f"model: {out} ({about['model']})", soft_wrap=True)


def _personal(about: abc.Mapping[str, Any], least: int) -> str:
    showings = f"{about['personal_showings']:,} answers to known shoppers after the bundle's data"
    if "personal_gain" not in about:
        return f"{showings}, of {least:,} that a weight of their ranker needs: it stays one half"
    mean, low, high = about["personal_gain"]
    return (
        f"{showings}: nDCG@10 of clicks {about['personal_ndcg_at_10']:.4f} with their ranker, "
        f"{about['impersonal_ndcg_at_10']:.4f} without: {mean:+.4f} ({low:+.4f} to {high:+.4f})"
    )


def _watched(status: object, share: float, note: str) -> None:
    status.update(f"{share:.0%} {note}")  # pyright: ignore[reportAttributeAccessIssue]
