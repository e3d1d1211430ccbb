"""`python -m tests.benchmarks.published --data FOLDER --seeds 0 1 2`: train, choose, test, write a table."""

import argparse
import shlex
import sys
from pathlib import Path

import torch

from components.shared.errors import InputError, ShoprankError
from components.shared.storage import write_json, write_text
from pipelines.cli.console import show_error
from tests.benchmarks.published.candidates import candidates
from tests.benchmarks.published.fitting import Candidate, Workshop
from tests.benchmarks.published.layouts import read_layout
from tests.benchmarks.published.results import Ablation, run, table
from tests.benchmarks.tables import provenance, write_table


def main(words: list[str]) -> None:
    """Run the benchmark on one data set.

    Raises:
        InputError: a flag has an invalid value.
        SchemaError: the data has none of the known layouts.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.published", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of a data set in one of the known layouts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="the first also chooses")
    parser.add_argument(
        "--out", type=Path, default=Path("out/benchmark"), help="fitted models, benchmark.json, table.md"
    )
    parser.add_argument("--only", nargs="+", default=[], help="names of the candidates to fit; by default all")
    parser.add_argument("--ablate", nargs="*", help="also fit variants of the chosen recipe: those named, or all")
    parser.add_argument("--ablate-from", default="", help="one of those variants: what the others are changes of")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument("--results", type=Path, help="folder that receives the tables")
    parser.add_argument("--part", help="name of the markers there; by default benchmark-LAYOUT")
    arguments = parser.parse_args(words)
    torch.set_num_threads(arguments.threads)
    layout = read_layout(arguments.data)
    workshop = Workshop(layout, arguments.out)
    ablate = None if arguments.ablate is None else Ablation(wanted=arguments.ablate, base=arguments.ablate_from)
    result = run(workshop, _named(candidates(layout.kind), arguments.only), tuple(arguments.seeds), ablate)
    made = provenance(f"python -m tests.benchmarks.published {shlex.join(words)}")
    text = f"{table(result)}\n{made}\n"
    write_json(workshop.folder / "benchmark.json", {**result.to_json(), "provenance": made})
    write_text(workshop.folder / "table.md", text)
    if arguments.results:
        write_table(arguments.results, arguments.part or f"benchmark-{layout.kind}", text)
    print(text)


def _named(every: tuple[Candidate, ...], only: list[str]) -> tuple[Candidate, ...]:
    known = [candidate.name for candidate in every]
    if unknown := [name for name in only if name not in known]:
        raise InputError(f"--only '{unknown[0]}' is no candidate", f"use one of: {'; '.join(known)}")
    return tuple(candidate for candidate in every if not only or candidate.name in only)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ShoprankError as error:
        show_error(error)
        raise SystemExit(1) from None
