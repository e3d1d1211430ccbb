"""`shoprank compile`, `lint` and `submit`: pipelines for a Kubeflow Pipelines server."""

from pathlib import Path
from typing import Annotated

import typer

from components.shared.errors import InputError
from pipelines.cli.configuring import check_schema
from pipelines.cli.console import console
from pipelines.cli.parameters import Config, Json, Set, emit


def compile_(
    check: Annotated[bool, typer.Option("--check", help="Only check that the files are up to date.")] = False,
) -> None:
    """Write pipelines/compiled/* and components/*/component.yaml: YAML for Kubeflow Pipelines and the JSON Schema."""
    from pipelines.compiling import compile_all

    for path in [*compile_all(check), check_schema(check)]:
        console.print(f"{path} {'is current' if check else 'written'}")


def lint(
    files: Annotated[list[Path], typer.Argument(help="Compiled pipelines, in KFP or Kubernetes-native form.")],
    as_json: Json = False,
) -> None:
    """Check compiled pipelines for problems on a cluster; exits with 1 if there are any."""
    from pipelines.linting import lint as findings_of

    found: list[dict[str, str]] = []
    for path in files:
        if not path.is_file():
            raise InputError(
                f"FILES: {path} does not exist", "give the paths of compiled pipelines (pipelines/compiled/*.yaml)"
            )
        found += [{"file": str(path), "finding": one} for one in findings_of(path.read_text(encoding="utf-8"))]
    if as_json:
        emit({"files": len(files), "findings": found})
    else:
        for one in found:
            console.print(f"{one['file']}: {one['finding']}", soft_wrap=True)
        console.print(f"{len(files)} files, {len(found)} findings")
    if found:
        raise typer.Exit(1)


def submit(
    pipeline: Annotated[str, typer.Argument(help="training, tuning or catalog")],
    host: Annotated[str, typer.Option(help="Address of the KFP server.")],
    namespace: Annotated[str, typer.Option(help="Namespace, on a multi-user server.")] = "",
    experiment: Annotated[str, typer.Option(help="Experiment of the run.")] = "shoprank",
    items: Annotated[str, typer.Option(help="items_source of the catalog pipeline.")] = "",
    config: Config = None,
    set_: Set = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the end of the run; exits with 1 if it failed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Submit the compiled pipeline to a Kubeflow Pipelines server."""
    from pipelines.compiling import parameters_of
    from pipelines.config import given_options, named_in, pipeline_arguments
    from pipelines.submitting import Submission
    from pipelines.submitting import submit as send

    known = parameters_of(pipeline)
    given = given_options(config, set_ or [])
    given |= {"items_source": items} if items else {}
    arguments = pipeline_arguments(given, known, named_in(set_ or ()))
    submission = Submission(
        pipeline=pipeline, host=host, namespace=namespace, experiment=experiment, arguments=arguments, wait=wait
    )  # fmt: skip
    address = send(submission, (lambda _: None) if as_json else console.print)
    if as_json:
        return emit({"run": address})
    console.print(address)
