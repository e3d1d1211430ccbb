"""Events of a shop read from CSV, JSON Lines and Parquet, beside polars and DuckDB doing the same.

`python -m tests.benchmarks.speed.ingestion` generates a file of each format, reads it with each program in processes of
their own, in turn, and writes results/ingestion.md. The work is that of `tests.benchmarks.speed.reading`.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import duckdb

from components.ingest_events import sql
from components.shared.errors import ShoprankError
from components.shared.storage import write_json
from tests.benchmarks.memory import peak_memory_mb
from tests.benchmarks.speed.reading import PROGRAMS, written_rows
from tests.benchmarks.tables import provenance, write_table

FORMATS = {"csv": "CSV", "jsonl": "JSON Lines", "parquet": "Parquet"}
_DAYS, _FIRST = 30, 1_767_225_600


class RowsDiffer(ShoprankError):
    """Two programs do not keep the same rows, so that their times are those of different work."""


def generate(path: Path, rows: int) -> None:
    """Write events as text columns: epochs and ISO 8601, ids with blanks, and three invalid rows of two hundred."""
    second = f"({_FIRST} + hash(i, 4) % {_DAYS * 86_400})"
    columns = {
        "user_id": "CASE WHEN hash(i) % 200 = 0 THEN 'NULL' ELSE "
                   "CASE WHEN hash(i) % 50 = 1 THEN ' u' ELSE 'u' END || hash(i, 1) % 200000 END",
        "item_id": "'i' || hash(i, 2) % 50000",
        "event_type": "CASE WHEN hash(i, 3) % 200 = 0 THEN 'hover' ELSE "
                      "['view', 'View', 'impression', 'cart', 'purchase'][(1 + hash(i, 3) % 5)::BIGINT] END",
        "timestamp": f"CASE WHEN hash(i, 5) % 200 = 0 THEN 'yesterday' WHEN hash(i, 5) % 10 < 3 "
                     f"THEN strftime(to_timestamp({second}), '%Y-%m-%dT%H:%M:%SZ') ELSE {second}::VARCHAR END",
        "price": "CASE WHEN hash(i, 6) % 30 = 0 THEN NULL ELSE (hash(i, 7) % 100000 / 100)::DECIMAL(9, 2)::VARCHAR END",
    }  # fmt: skip
    forms = {".csv": "FORMAT csv, HEADER", ".jsonl": "FORMAT json", ".parquet": "FORMAT parquet, COMPRESSION zstd"}
    query = f"SELECT {', '.join(f'{made} AS {name}' for name, made in columns.items())} FROM range({rows}) AS t(i)"
    partial = path.with_name(path.name + ".partial")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY ({query}) TO {sql.literal(str(partial))} ({forms[path.suffix]})")
    partial.rename(path)


def measure(program: str, source: Path, target: Path) -> dict[str, float]:
    """Read a file with one program in this process."""
    started = time.perf_counter()
    PROGRAMS[program](source, target)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rows": written_rows(target), "memory_mb": peak_memory_mb()}


def measured(program: str, source: Path, folder: Path) -> dict[str, float]:
    """Read a file with one program in a process of its own."""
    target = folder / "read"
    shutil.rmtree(target, ignore_errors=True)
    command = [
        sys.executable, "-W", "ignore", "-m", "tests.benchmarks.speed.ingestion", "--measure", program,
        "--source", str(source), "--out", str(folder),
    ]  # fmt: skip
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    shutil.rmtree(target)
    return json.loads(output.splitlines()[-1])


def compared(source: Path, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds, rows and peak memory of each program, which take turns.

    Raises:
        RowsDiffer: the programs keep different rows.
    """
    runs: dict[str, list[dict[str, float]]] = {program: [] for program in PROGRAMS}
    for _ in range(rounds):
        for program, own in runs.items():
            own.append(measured(program, source, folder))
            print(source.name, program, own[-1], flush=True)
    kept = {program: own[0]["rows"] for program, own in runs.items()}
    if len(set(kept.values())) > 1:
        raise RowsDiffer(f"the rows of {source.name} are {kept}", "let each program do the same work in reading.py")
    return {
        program: {
            "seconds": statistics.median(one["seconds"] for one in own), "rows": kept[program],
            "fastest": min(one["seconds"] for one in own), "slowest": max(one["seconds"] for one in own),
            "memory_mb": max(one["memory_mb"] for one in own),
        } for program, own in runs.items()
    }  # fmt: skip


def table(found: dict[str, dict[str, dict[str, float]]], rows: int) -> str:
    """Return the result table in Markdown; ratios are those of the medians."""

    def speed(one: dict[str, float]) -> str:
        return f"{rows / one['seconds']:,.0f} ({rows / one['slowest']:,.0f} to {rows / one['fastest']:,.0f})"

    titles = [f"{program}, rows/s" for program in PROGRAMS]
    rivals = [program for program in PROGRAMS if program != "shoprank"]
    titles += [f"ratio to {program}" for program in rivals] + ["peak memory, MB"]
    lines = [f"| file | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for name, programs in found.items():
        ratios = [f"{programs[rival]['seconds'] / programs['shoprank']['seconds']:.2f} x" for rival in rivals]
        memory = " / ".join(f"{one['memory_mb']:,.0f}" for one in programs.values())
        cells = [FORMATS[name], *map(speed, programs.values()), *ratios, memory]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure every format with every program and write the table, or print one measurement as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument(
        "--large", type=int, default=10_000_000, help="rows of the Parquet file that only shoprank reads"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out/ingestion"))
    parser.add_argument("--measure", choices=list(PROGRAMS), help="only read --source, and print the figures")
    parser.add_argument("--source", type=Path)
    parser.add_argument("--results", type=Path, default=Path("tests/benchmarks/speed/results"))
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.source, arguments.out / "read")))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    files = {end: arguments.out / f"events-{arguments.rows}.{end}" for end in FORMATS}
    large = arguments.out / f"events-{arguments.large}.parquet"
    for path in [*files.values(), large]:
        if not path.exists():
            generate(path, arguments.large if path == large else arguments.rows)
    found = {end: compared(path, arguments.out, arguments.rounds) for end, path in files.items()}
    alone = measured("shoprank", large, arguments.out)
    write_json(arguments.out / "ingestion.json", {"compared": found, "large": alone})
    text = (
        f"{arguments.rows / 1e6:g} million rows, {found['csv']['shoprank']['rows']:,.0f} of them valid; each program "
        f"in processes of its own, median of {arguments.rounds} rounds in turn (slowest to fastest).\n\n"
        f"{table(found, arguments.rows)}\n\n{arguments.large / 1e6:g} million rows of Parquet, shoprank alone: "
        f"{arguments.large / alone['seconds']:,.0f} rows/s, at most {alone['memory_mb']:,.0f} MB of memory."
    )
    write_table(arguments.results, "ingestion", f"{text}\n\n{provenance('make bench')}")
    print(text)


if __name__ == "__main__":
    main()
