"""`python -m tests.benchmarks.throughput --rows 1000000`: measure every variant in turn, round by round.

Each measurement is a fresh run of the project's launcher; all variants must agree on the loss of the first batch.
"""

import argparse
import dataclasses
import json
import os
import shlex
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from components.shared.cgroup import usable_cpus
from components.shared.errors import ShoprankError
from components.shared.storage import read_json, write_json, write_text
from components.shared.training.compute_dtype import multiplies_bfloat16
from components.shared.training.launch import KEPT_MEMORY, LaunchConfig, WorkerTask
from components.shared.training.process import Torchrun
from pipelines.cli.console import show_error
from tests.benchmarks.tables import provenance, write_table
from tests.benchmarks.throughput.data import Shape, generate
from tests.benchmarks.throughput.measures import SEQUENCE_MEASURES
from tests.benchmarks.throughput.peers import PEERS
from tests.benchmarks.throughput.results import (
    Variant,
    gpu_table,
    gpu_variants,
    profile_table,
    sequence_table,
    table,
    variants,
)

ROOT = Path(__file__).parents[2]
LOSS_TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-3}
"""Relative tolerance of first losses against the first variant's; bfloat16 has 8 bits of fraction."""


class ThroughputFailed(ShoprankError):
    """A measurement ended without figures, or the variants are not the same model."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings of all measurements."""

    out: Path
    """Folder of data, work folders and results."""
    batch: int = 4_096
    """Rows per step over all processes."""
    steps: int = 60
    """Maximum number of timed steps."""
    seconds: float = 15.0
    """Approximate time limit of the timed steps."""
    rounds: int = 3
    """Measurements of each variant; the variants alternate."""
    peers_python: str = ""
    """Python with deepctr-torch and RecBole; empty: they are not measured."""
    peers_steps: int = 30
    """Steps of a peer's timed epoch; the peers create input row by row."""
    precisions: tuple[str, ...] = ("float32",)
    """Precisions of the dense layers."""
    gpus: int = 0
    """GPUs of this machine; if there are any, only variants that train on them are measured."""

    @property
    def rows(self) -> tuple[Variant, ...]:
        """All measured variants."""
        if self.gpus:
            return gpu_variants(self.precisions, self.gpus)
        return variants(PEERS if self.peers_python else (), self.precisions)


def main(words: list[str]) -> None:
    """Measure, print, write.

    Raises:
        ThroughputFailed: a measurement failed, or variants disagree on the first loss.
    """
    arguments = _parser().parse_args(words)
    out = arguments.out.resolve()
    plan = Plan(out=out, batch=arguments.batch, steps=arguments.steps, seconds=arguments.seconds,
                rounds=arguments.rounds, peers_python=arguments.peers_python,
                precisions=tuple(arguments.precisions), gpus=torch.cuda.device_count())  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    parts, found = [], {}
    for rows in arguments.rows:
        found[str(rows)] = dlrm = measure_rows(plan, Shape(rows=rows))
        parts.append(_describe(plan, dlrm))
        print(parts[-1], flush=True)
    if not arguments.no_sequences and not plan.gpus:
        found["sequences"] = measure_sequences(plan)
        parts.append(sequence_table(found["sequences"]))
        print(parts[-1], flush=True)
    made = provenance(f"python -m tests.benchmarks.throughput {shlex.join(words)}".strip())
    text = "\n\n".join([*parts, made])
    write_json(out / "throughput.json", {**found, "provenance": made})
    write_text(out / "throughput.md", f"{text}\n")
    if arguments.results:
        write_table(arguments.results, arguments.part, text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.throughput", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000], help="training rows and table rows")
    parser.add_argument("--out", type=Path, default=Path("out/throughput"))
    parser.add_argument("--peers-python", default="", help="Python with deepctr-torch and RecBole installed")
    parser.add_argument("--results", type=Path, help="folder that receives the tables")
    parser.add_argument("--part", default="throughput", help="name of the markers there")
    parser.add_argument("--batch", type=int, default=4_096, help="rows of a step")
    parser.add_argument("--steps", type=int, default=60, help="steps on the clock, at most")
    parser.add_argument("--seconds", type=float, default=15.0, help="what they may take")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each variant")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    usable = ["float32", *["bfloat16"] * multiplies_bfloat16(device)]
    parser.add_argument("--precisions", nargs="+", default=usable, help="of the dense layers; all that the device has")
    parser.add_argument("--no-sequences", action="store_true", help="leave sequence training out, as on a GPU")
    return parser


def measure_rows(plan: Plan, shape: Shape) -> dict:
    """Measure every DLRM variant on one file of rows, and profile ours."""
    data = plan.out / f"clicks-{shape.rows}.parquet"
    if not data.exists():
        partial = data.with_suffix(".partial")
        generate(partial, shape)
        partial.rename(data)
    rows = plan.rows
    for row in rows:
        if row.measure in PEERS:  # their environment is not installed by this project: fail now, not after an hour
            measure(dataclasses.replace(plan, peers_steps=2), row, shape, data)
    rounds: dict[str, list[dict]] = {}
    for number in range(plan.rounds):
        for row in rows:
            found = measure(plan, row, shape, data)
            rounds.setdefault(row.name, []).append(found)
            print(f"round {number + 1} {row.name}: {found['samples_per_second']:,.0f} samples/s", flush=True)
    pooled = {name: pool(found) for name, found in rounds.items()}
    check_same_model(rows, pooled)
    profiles = {
        precision: measure(
            plan, Variant(measure="profile", label="", precision=precision, processes=plan.gpus or 2), shape, data
        )
        for precision in plan.precisions
    }
    return {"shape": dataclasses.asdict(shape), "variants": pooled, "profiles": profiles}


def measure_sequences(plan: Plan) -> dict[str, dict]:
    """Measure every sequence variant in turn."""
    rounds: dict[str, list[dict]] = {}
    for _ in range(plan.rounds):
        for one in SEQUENCE_MEASURES:
            row = Variant(measure=one.__name__, label="", precision="float32", processes=1)
            rounds.setdefault(one.__name__, []).append(measure(plan, row, Shape(rows=0), Path()))
    pooled = {name: pool(found) for name, found in rounds.items()}
    ours, plain = (pooled[name]["first_loss"] for name in ("jagged_attention", "padded_sasrec"))
    if abs(ours - plain) > LOSS_TOLERANCE["float32"] * abs(plain):
        raise ThroughputFailed(f"jagged_attention begins at a loss of {ours}, padded_sasrec at {plain}",
                               "make them the same model again")  # fmt: skip
    return pooled


def measure(plan: Plan, row: Variant, shape: Shape, data: Path) -> dict:
    """Measure one variant in a new run.

    Raises:
        ThroughputFailed: a peer ended without figures.
        TrainingError: a worker failed.
    """
    work = plan.out / "work" / row.name
    work.mkdir(parents=True, exist_ok=True)
    peer = row.measure in PEERS
    settings = {
        "measure": row.measure, "data": str(data), "shape": dataclasses.asdict(shape), "batch": plan.batch,
        "steps": plan.peers_steps if peer else plan.steps, "seconds": plan.seconds, "precision": row.precision,
        "compiled": row.compiled,
    }  # fmt: skip
    if peer:
        return _peer(plan, {**settings, "folder": str(work)}, work)
    task = WorkerTask(stage="throughput", module="tests.benchmarks.throughput.worker", digest="", settings=settings,
                      inputs={}, results=())  # fmt: skip
    Torchrun(LaunchConfig(processes=row.processes, max_restarts=0)).run(task, work)
    return read_json(work / "result.json")


def _peer(plan: Plan, job: dict, work: Path) -> dict:
    write_json(work / "job.json", job)
    command = [
        plan.peers_python,
        "-W",
        "ignore",
        "-m",
        "tests.benchmarks.throughput.peers",
        "--job",
        str(work / "job.json"),
    ]
    threads = str(usable_cpus())
    environment = {**KEPT_MEMORY, **os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=work, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ThroughputFailed(
            f"{job['measure']} ended with code {done.returncode}",
            f"install deepctr-torch and recbole for {plan.peers_python}, or leave --peers-python out",
        )
    return json.loads(done.stdout.splitlines()[-1])


def pool(rounds: list[dict]) -> dict:
    """Return the median speed of the rounds, the spread, and the other figures of the last round."""
    speeds = [one["samples_per_second"] for one in rounds]
    return {**rounds[-1], "samples_per_second": statistics.median(speeds), "spread": [min(speeds), max(speeds)]}


def check_same_model(rows: tuple[Variant, ...], found: dict[str, dict]) -> None:
    """Refuse figures of variants whose losses of the first batch differ.

    Raises:
        ThroughputFailed: a variant differs; the message names it.
    """
    wanted = found[rows[0].name]["first_loss"]
    for row in rows:
        loss = found[row.name].get("first_loss")
        if loss is not None and abs(loss - wanted) > LOSS_TOLERANCE[row.precision] * abs(wanted):
            raise ThroughputFailed(f"{row.name} begins at a loss of {loss}, {rows[0].name} at {wanted}",
                                   "make them the same model again")  # fmt: skip


def _describe(plan: Plan, dlrm: dict) -> str:
    shape = Shape.of(dlrm["shape"])
    found = dlrm["variants"]
    rows = plan.rows
    first = found[rows[0].name]["first_loss"]
    timed = min(shape.rows, plan.peers_steps * plan.batch)
    peers = f" Peers train an epoch of the first {timed:,} rows, all tables whole." if plan.peers_python else ""
    kept = "TorchRec's DLRM" if plan.gpus else "plain torch"
    shown = gpu_table(rows, found) if plan.gpus else table(rows, found)
    return (
        f"DLRM, {shape.rows:,} generated rows: {shape.sparse} ids (Zipf, exponent 1.05) in tables of "
        f"{shape.table_rows:,} rows x {shape.dim}, {shape.dense} numbers, bottom {shape.bottom}, top {shape.top}, "
        f"batch {plan.batch:,}. Every run has all cores; ours reads shuffled Parquet on the clock, {kept} holds "
        f"all rows in memory. First loss {first:.6f} in every variant.{peers}\n\n"
        f"{shown}\n\n{profile_table(dlrm['profiles'])}"
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ShoprankError as error:
        show_error(error)
        raise SystemExit(1) from None
