"""`shoprank serve`, `ask` and `report`: serve a bundle, query a predictor, write the report of a run."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from components.shared.errors import InputError
from components.shared.release.bundle import MANIFEST
from components.shared.release.signing import public_path
from pipelines.cli.console import console, show_answer, show_suggestions
from pipelines.cli.parameters import Json, Out, emit, existing_output
from pipelines.local.processes import run_until_stopped


def serve(
    bundle: Annotated[
        Path | None, typer.Argument(help="A bundle, or an output folder whose champion is served. Default: --out.")
    ] = None,
    out: Out = Path("out"),
    port: Annotated[int, typer.Option(help="REST port.")] = 8080,
    grpc_port: Annotated[int, typer.Option(help="V2 gRPC port.")] = 8081,
    clock: Annotated[
        str, typer.Option(help="Clock for requests without a timestamp: auto, bundle or system.")
    ] = "auto",
    public_key: Annotated[Path | None, typer.Option(help="Public key to verify the bundle's signature.")] = None,
    rules: Annotated[Path | None, typer.Option(help="File of rules, which is followed (see `shoprank rules`).")] = None,
    access: Annotated[
        Path | None, typer.Option(help="File of clients with keys (see `shoprank access-key`). Default: open to all.")
    ] = None,
    state_url: Annotated[str, typer.Option(help="Redis that keeps online events. Default: this process.")] = "",
) -> None:
    """Serve a bundle until stopped."""
    folder, key = bundle or existing_output(out), public_key
    if (folder / "registry").is_dir():
        from pipelines.local.demo import champion

        key = key or public_path(folder / "keys" / "signing.pem")
        folder = champion(folder / "registry")
    elif not (folder / MANIFEST).exists():
        raise InputError(
            f"{folder} contains neither a bundle nor a registry",
            "train first, with `shoprank run training` or `shoprank demo`, or give the folder of a bundle",
        )
    command = [sys.executable, "-m", "serving", "--model_dir", str(folder), "--http_port", str(port),
               "--grpc_port", str(grpc_port), "--clock", clock]  # fmt: skip
    for flag, path in (("--public_key", key), ("--rules", rules), ("--access", access)):
        command += [flag, str(path)] if path else []
    command += ["--state_url", state_url] if state_url else []
    raise typer.Exit(run_until_stopped(command))


def ask(
    user: Annotated[str, typer.Option(help="Shopper id.")] = "",
    query: Annotated[str, typer.Option(help="Search text.")] = "",
    k: Annotated[int, typer.Option(help="Number of items.")] = 10,
    similar_to: Annotated[str, typer.Option(help="Item id: answer items like it.")] = "",
    bought_with: Annotated[
        list[str] | None, typer.Option(help="Item id: answer what its buyers bought too. May be repeated.")
    ] = None,
    more_like: Annotated[str, typer.Option(help="Item id that the items of --query or --user should be like.")] = "",
    diversity: Annotated[float, typer.Option(help="Variety of the items: 0 (by score alone) to 1.")] = 0.0,
    verbatim: Annotated[bool, typer.Option("--verbatim", help="Search for exactly what --query says.")] = False,
    sort: Annotated[str, typer.Option(help="relevance, price, -price, newest or popular.")] = "relevance",
    facet: Annotated[
        list[str] | None, typer.Option(help="Count by category, brand, price or an attribute; may be repeated.")
    ] = None,
    cursor: Annotated[str, typer.Option(help="Cursor of the previous page, of the same request.")] = "",
    suggest: Annotated[str, typer.Option(help="What was typed so far: suggestions instead of items.")] = "",
    url: Annotated[str, typer.Option(help="Address of the predictor.")] = "http://127.0.0.1:8080",
    model: Annotated[str, typer.Option(help="Name of the model in the predictor's URLs.")] = "shoprank",
    key: Annotated[
        str, typer.Option(envvar="SHOPRANK_KEY", help="Key or token; better in the variable than on a command line.")
    ] = "",
    explain: Annotated[bool, typer.Option("--explain", help="Print the full explanation as JSON.")] = False,
    as_json: Json = False,
) -> None:
    """Send one request to a running predictor."""
    from pipelines.cli.asking import ask as send

    request = {"k": k} | ({"user_id": user} if user else {}) | ({"query": query} if query else {})
    given = {"verbatim": verbatim, "similar_to": similar_to, "bought_with": bought_with, "more_like": more_like,
             "diversity": diversity, "facets": facet, "cursor": cursor, "suggest": suggest}  # fmt: skip
    request |= {name: value for name, value in given.items() if value}
    request |= {"sort": sort} if sort != "relevance" else {}
    answer = send(url, request, model, explain=explain, key=key)
    if explain or as_json:
        return emit(answer)
    if suggest:
        return show_suggestions(suggest, answer)
    related = {"similar_to", "bought_with", "more_like", "diversity"}
    asked = [f"{name.replace('_', ' ')} {value}" for name, value in given.items() if value and name in related]
    show_answer(", ".join([f"user {user or 'unknown'}", *([f"query '{query}'"] if query else []), *asked]), answer)


def report(
    run: Annotated[Path | None, typer.Argument(help="An output folder or one of its runs/<time>. Default: --out.")] = (
        None
    ),
    out: Out = Path("out"),
    to: Annotated[Path | None, typer.Option(help="File to write. Default: RUN/report.html.")] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a finished run."""
    from pipelines.local import demo as shop
    from pipelines.local.runs import Run

    finished = Run.read(run or existing_output(out))
    path = shop.report(finished, to or finished.folder / "report.html", [])
    if as_json:
        return emit({"report": path})
    console.print(str(path), soft_wrap=True)
