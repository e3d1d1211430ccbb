"""The `shoprank` command: train, tune, serve, ask, release and submit. `shoprank COMMAND --help` explains each."""

import sys
from typing import Annotated

import typer

from components.shared.errors import InputError, ShoprankError
from components.shared.version import VERSION
from pipelines.cli import (
    access,
    cluster,
    configuring,
    counterfactual,
    inspecting,
    keys,
    merchandising,
    registry,
    rollouts,
    running,
    search_queries,
    search_training,
    searching,
    serving,
    submission,
    synonyms,
)
from pipelines.cli.console import console, show_error
from pipelines.kind import app as kind
from pipelines.local.processes import Terminated, terminated_by_signal
from pipelines.refusals import CancelledRun

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

for function in (
    inspecting.inspect, running.run, running.demo, running.tune, running.refresh, serving.serve, serving.ask,
    serving.report, registry.promote, registry.rollback, configuring.config, submission.lint, submission.submit,
    submission.upload, submission.schedule, cluster.install, cluster.doctor, counterfactual.counterfactual,
):  # fmt: skip
    app.command(function.__name__)(function)
app.command("compile")(submission.compile_)
app.command("search-eval")(searching.search_eval)
app.command("search-queries")(search_queries.search_queries)
app.command("encode-text")(search_training.encode_text)
app.command("search-train")(search_training.search_train)
app.command("synonyms")(synonyms.synonyms)
app.command("rules")(merchandising.rules)
app.command("access-key")(access.access_key)
app.add_typer(registry.versions, name="registry")
app.add_typer(keys.keys, name="keys")
app.add_typer(registry.bundle, name="bundle")
app.add_typer(registry.audit, name="audit")
app.add_typer(rollouts.rollout, name="rollout")
app.add_typer(kind, name="kind")


def _version(wanted: bool) -> None:
    if wanted:
        console.print(VERSION)
        raise typer.Exit


@app.callback()
def root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    """Train, evaluate, release and serve search and recommendation models."""


def main() -> None:
    """Entry point: exits with 2 for invalid input, 3 if the run was cancelled, 1 for other errors, 128 + signal."""
    try:
        with terminated_by_signal():
            app()
    except InputError as error:
        show_error(error)
        sys.exit(2)
    except CancelledRun as error:
        show_error(error)
        sys.exit(3)
    except ShoprankError as error:
        show_error(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Terminated as stop:
        sys.exit(128 + stop.number)


if __name__ == "__main__":
    main()
