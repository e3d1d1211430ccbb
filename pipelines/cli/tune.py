"""`shoprank tune`: the tuning pipeline on this machine; a search that was stopped goes on where it stood."""

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from components.shared.schema.sizes import size_named
from components.shared.tuning.hyperparameters import FILE, Hyperparameters, read_hyperparameters
from pipelines.cli.console import StageBars, console

MODELS = {"retriever": "tune-hyperparameters-2", "ranker": "tune-hyperparameters-4"}
"""Task that closes each model's study; the numbers are KFP's."""


def tune(
    size: Annotated[str, typer.Option(help="tiny, small or full: the defaults to beat")] = "small",
    data: Annotated[
        str, typer.Option(help="complete-journey, or a file, folder or URI of events")
    ] = "complete-journey",
    mapping: Annotated[str, typer.Option(help="JSON, or a JSON file: {our column: their column}")] = "",
    out: Annotated[Path, typer.Option("--out", help="folder for runs, studies and what was found")] = Path("out"),
    trials: Annotated[int, typer.Option(help="trials of each model, the defaults included")] = 20,
    workers: Annotated[int, typer.Option(help="trials that run at once (KFP's local runner takes 2 at most)")] = 1,
    arg: Annotated[list[str] | None, typer.Option(help="further pipeline argument, key=value")] = None,
) -> None:
    """Search for better hyper-parameters of retriever and ranker here, without a cluster."""
    from pipelines.local.runs import data_arguments, exclusive, run_local
    from pipelines.submitting import parse_arguments

    size_named(size)
    place = out.resolve()
    arguments = {
        **data_arguments(data, mapping),
        "size": size, "retriever_trials": trials, "ranker_trials": trials,
        "workers": [f"worker-{number}" for number in range(workers)], "storage": str(place / "tuning" / "studies"),
        **parse_arguments("tuning", arg or []),
    }  # fmt: skip
    with exclusive(place), StageBars() as bars:
        finished = run_local("tuning", arguments, place, bars.watch)
    for model, task in MODELS.items():
        kept = place / "tuning" / model
        shutil.copytree(finished.artifact(task, "best"), kept, dirs_exist_ok=True)
        shutil.copyfile(finished.artifact(task, "report"), kept / "tuning.html")
        _show(read_hyperparameters(str(kept), model))
        console.print(f"page {kept / 'tuning.html'}\n", soft_wrap=True)
    words = " ".join(f"--arg {model}_hyperparameters={place / 'tuning' / model / FILE}" for model in MODELS)
    console.print(f"train with them: shoprank run training --size {size} {words}", soft_wrap=True)


def _show(found: Hyperparameters) -> None:
    table = Table(title=f"{found.model}: {found.trials} trials, study {found.study}", title_justify="left",
                  show_edge=False, pad_edge=False)  # fmt: skip
    for heading in ("hyper-parameter", "best"):
        table.add_column(heading)
    for name, value in found.values.items():
        table.add_row(name, json.dumps(value))
    console.print(table)
    if found.value is not None and found.default_value is not None:
        console.print(f"{found.metric}: {found.value:.4f}, defaults {found.default_value:.4f}")
