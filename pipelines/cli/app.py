"""The `shoprank` command: run, tune, compile, submit, serve, ask, report, rollback. Errors are headline and mend."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from components.shared.errors import InputError, ShoprankError
from components.shared.release.signing import public_path
from components.shared.schema.sizes import size_named
from components.shared.version import VERSION
from pipelines.cli.bundles import audit, bundle
from pipelines.cli.console import StageBars, console, show_answer, show_error
from pipelines.cli.counterfactual import counterfactual
from pipelines.cli.refresh import refresh
from pipelines.cli.tune import tune

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

app.add_typer(bundle, name="bundle")
app.add_typer(audit, name="audit")
app.command("tune")(tune)
app.command("refresh")(refresh)
app.command("counterfactual")(counterfactual)

STORAGE = "pvc://shoprank-registry/registry"

Out = Annotated[Path, typer.Option("--out", help="Folder for runs, registry, keys and report.")]


@app.command()
def run(
    pipeline: Annotated[str, typer.Argument(help="training")],
    size: Annotated[str, typer.Option(help="tiny, small or full")] = "small",
    data: Annotated[
        str, typer.Option(help="complete-journey, or a file, folder or URI of events")
    ] = "complete-journey",
    mapping: Annotated[str, typer.Option(help="JSON, or a JSON file: {our column: their column}")] = "",
    out: Out = Path("out"),
    arg: Annotated[list[str] | None, typer.Option(help="further pipeline argument, key=value")] = None,
) -> None:
    """Run a pipeline here, without a cluster."""
    _run(pipeline, size, data, mapping, out, arg or [])


@app.command()
def demo(
    size: Annotated[str, typer.Option(help="tiny, small or full")] = "small",
    out: Out = Path("out"),
) -> None:
    """Run training on a real shop, serve the result, ask it three questions and write the report."""
    from pipelines.local import demo as rooms

    started = time.monotonic()
    finished = _run("training", size, "complete-journey", "", out, [])
    console.print("\n[bold]Asking the real predictor[/]\n")
    answers = rooms.ask_all(rooms.champion(out / "registry"), public_path(out / "keys" / "signing.pem"))
    for question, answer in answers:
        show_answer(question.title, answer)
    path = rooms.report(finished, out / "report.html", answers)
    console.print(f"[green]done[/] in {rooms.elapsed(started)}: open {path}")


def _run(pipeline: str, size: str, data: str, mapping: str, out: Path, further: list[str]) -> Any:
    from components.shared.evaluation.decision import read_decision
    from pipelines.compiling import pipeline_named
    from pipelines.local.runs import RunFailed, data_arguments, exclusive, lineage, run_local
    from pipelines.submitting import parse_arguments

    size_named(size)
    pipeline_named(pipeline)
    if pipeline != "training":
        raise InputError(f"PIPELINE is '{pipeline}', which trains nothing", "use `shoprank tune` or `shoprank refresh`")
    place = out.resolve()
    arguments = {
        **data_arguments(data, mapping),
        "size": size,
        "registry": str(place / "registry"),
        "signing_key": str(place / "keys" / "signing.pem"),
        "lineage": lineage(data, size),
        **parse_arguments(pipeline, further),
    }
    with exclusive(place), StageBars() as bars:
        finished = run_local(pipeline, arguments, place, bars.watch)
    decision = read_decision(finished.artifact("evaluate-model", "evaluation"))
    if not decision.blessed:
        raise RunFailed(
            f"the model was refused: {' '.join(decision.reasons)}", f"see `shoprank report {finished.folder}`"
        )
    console.print(f"[green]blessed and released[/] ({finished.folder})")
    return finished


@app.command("compile")
def compile_(
    check: Annotated[bool, typer.Option("--check", help="only say whether the files are current")] = False,
) -> None:
    """Write pipelines/compiled/*.yaml for Kubeflow Pipelines."""
    from pipelines.compiling import compile_all

    for path in compile_all(check):
        console.print(f"{path} {'is current' if check else 'written'}")


@app.command("lint")
def lint_(files: Annotated[list[Path], typer.Argument(help="compiled pipelines, in either form")]) -> None:
    """Say what speaks against giving compiled pipelines to a cluster; ends with 1 when something does."""
    from pipelines.linting import lint

    found = 0
    for path in files:
        if not path.is_file():
            raise InputError(f"FILES: {path} does not exist", "name compiled pipelines (pipelines/compiled/*.yaml)")
        for finding in lint(path.read_text(encoding="utf-8")):
            console.print(f"{path}: {finding}", highlight=False, soft_wrap=True)
            found += 1
    console.print(f"{len(files)} files, {found} findings")
    if found:
        raise typer.Exit(1)


@app.command()
def submit(
    pipeline: Annotated[str, typer.Argument(help="training")],
    host: Annotated[str, typer.Option(help="address of the KFP server")],
    namespace: Annotated[str, typer.Option(help="namespace, on a multi-user server")] = "",
    experiment: Annotated[str, typer.Option(help="experiment of the run")] = "shoprank",
    arg: Annotated[list[str] | None, typer.Option(help="pipeline argument, key=value")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="until the run is over; ends with 1 when it failed")] = False,
) -> None:
    """Submit the compiled pipeline to a Kubeflow Pipelines server."""
    from pipelines.submitting import Submission, parse_arguments
    from pipelines.submitting import submit as send

    arguments = parse_arguments(pipeline, arg or [])
    submission = Submission(
        pipeline=pipeline, host=host, namespace=namespace, experiment=experiment, arguments=arguments, wait=wait
    )  # fmt: skip
    console.print(send(submission, console.print))


@app.command()
def serve(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="a bundle, or an output folder, its champion meant")],
    port: Annotated[int, typer.Option(help="REST port")] = 8080,
    grpc_port: Annotated[int, typer.Option(help="V2 gRPC port")] = 8081,
    clock: Annotated[
        str, typer.Option(help="what 'now' is when a request does not say: auto, bundle, system")
    ] = "auto",
    public_key: Annotated[Path | None, typer.Option(help="who must have signed the bundle")] = None,
) -> None:
    """Serve a bundle until stopped."""
    key = public_key
    if (folder / "registry").is_dir():
        from pipelines.local.demo import champion

        key = key or public_path(folder / "keys" / "signing.pem")
        folder = champion(folder / "registry")
    command = [sys.executable, "-m", "serving", "--model_dir", str(folder), "--http_port", str(port),
               "--grpc_port", str(grpc_port), "--clock", clock]  # fmt: skip
    process = subprocess.Popen([*command, "--public_key", str(key)] if key else command)
    # The predictor stops in its own order; this command only waits for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    raise typer.Exit(process.wait())


@app.command()
def ask(
    user: Annotated[str, typer.Option(help="shopper id")] = "",
    query: Annotated[str, typer.Option(help="search text")] = "",
    k: Annotated[int, typer.Option(help="items wanted")] = 10,
    url: Annotated[str, typer.Option(help="address of the predictor")] = "http://127.0.0.1:8080",
    explain: Annotated[bool, typer.Option("--explain", help="the full explanation, as JSON")] = False,
) -> None:
    """Ask a running predictor."""
    from pipelines.cli.asking import ask as send

    request = {"k": k} | ({"user_id": user} if user else {}) | ({"query": query} if query else {})
    answer = send(url, request, explain=explain)
    if explain:
        console.print_json(json.dumps(answer))
    else:
        show_answer(f"user {user or 'unknown'}" + (f", query '{query}'" if query else ""), answer)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="an output folder or one of its runs/<time>")],
    to: Annotated[Path | None, typer.Option(help="file to write; default RUN/report.html")] = None,
) -> None:
    """Write the report of a finished run."""
    from pipelines.local import demo as rooms
    from pipelines.local.runs import Run

    finished = Run.read(folder)
    console.print(str(rooms.report(finished, to or finished.folder / "report.html", [])))


@app.command()
def rollback(
    out: Out = Path("out"),
    model_name: Annotated[str, typer.Option(help="name in the registry")] = "shop",
    service: Annotated[str, typer.Option(help="InferenceService to roll back; empty: the registry alone")] = "",
    namespace: Annotated[str, typer.Option(help="its namespace; empty: that of the context")] = "",
    context: Annotated[str, typer.Option("--kube-context", help="context of the kubeconfig")] = "",
    storage: Annotated[str, typer.Option(help="URI of the registry as KServe reads it")] = STORAGE,
    mode: Annotated[str, typer.Option(help="KServe's deployment mode")] = "Standard",
    url: Annotated[str, typer.Option(help="address of the service from here; empty: the one of its status")] = "",
) -> None:
    """Serve the previous champion again: weights, indexes, feature spec and thresholds together."""
    import dataclasses

    from components.deploy_model.deploy import kserve_target
    from components.deploy_model.deploy import rollback as back

    started, target = time.monotonic(), None
    if service:
        named = kserve_target(model_name, service, namespace, storage, mode)
        target = dataclasses.replace(named, context=context, url=url)
    done = back(out / "registry", model_name, "kserve" if service else "local", target)
    console.print(f"champion is {done.version} again ({time.monotonic() - started:.2f} s)")


def _version(wanted: bool) -> None:
    if wanted:
        console.print(VERSION)
        raise typer.Exit


@app.callback()
def root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    """Search and recommendation models in production by themselves."""


def main() -> None:
    """Entry point: errors a person can mend end with code 2, a stop by Ctrl-C with 130."""
    try:
        app()
    except InputError as error:
        show_error(error)
        sys.exit(2)
    except ShoprankError as error:
        show_error(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
