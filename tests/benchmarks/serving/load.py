"""The predictor under 1, 16 and 64 clients beside that of an earlier commit, in turns on the same machine.

`python -m tests.benchmarks.serving.load --bundle NEW --old COMMIT --old-bundle OLD` writes results/load.md. NEW and OLD
are the same model, compiled by the new and by the old code. Needs wrk (Debian). Every request is of a shopper drawn
from all that the bundle knows; one of four is a search by the words of a title.
"""

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import pyarrow.parquet as pq

from components.shared.errors import InputError
from tests.benchmarks.tables import provenance, write_table
from tests.ports import free_port

CLIENTS = (1, 16, 64)
SECONDS, ROUNDS, REQUESTS = 10, 3, 2_000
_PATH = "/v1/models/shoprank:predict"
_SCRIPT = """
local bodies, at = {}, 0
for line in io.lines("BODIES") do bodies[#bodies + 1] = line end
math.randomseed(SEED)
at = math.random(#bodies)
request = function()
  at = at % #bodies + 1
  return wrk.format("POST", "PATH", {["content-type"] = "application/json"}, bodies[at])
end
done = function(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.timeout + summary.errors.connect + summary.errors.read
  io.write(string.format('RESULT {"p50": %f, "p99": %f, "rate": %f, "failed": %d}\\n', latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, summary.requests / summary.duration * 1e6, failed))
end
"""


@dataclass(frozen=True)
class Contender:
    """A predictor to measure.

    Attributes:
        name: Its row in the table. tree: Folder of its source. bundle: What it serves. options: Further options.
    """

    name: str
    tree: Path
    bundle: Path
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Load:
    """What one run of wrk found: milliseconds, answers per second, and requests without a good answer."""

    p50: float
    p99: float
    rate: float
    failed: float


def write_bodies(bundle: Path, path: Path) -> None:
    """One request a line."""
    rng = np.random.default_rng(0)
    users = pq.read_table(bundle / "users.parquet")[0].to_pylist()
    titles = [title for title in pq.read_table(bundle / "items.parquet", columns=["title"])[0].to_pylist() if title]
    with path.open("w") as file:
        for at in range(REQUESTS):
            request = {"user_id": str(users[rng.integers(len(users))]), "k": 10}
            if at % 4 == 0:
                request["query"] = " ".join(titles[rng.integers(len(titles))].split()[:2])
            file.write(json.dumps({"instances": [request]}) + "\n")


@contextlib.contextmanager
def serving(one: Contender, log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a predictor and yield its address when it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "serving", "--model_dir", str(one.bundle), "--http_port", str(port),
               "--grpc_port", str(free_port()), *one.options]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(one.tree), "OMP_NUM_THREADS": "1"}
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=one.tree, env=environment, stdout=stream, stderr=stream)
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + 180
        with httpx.Client(trust_env=False) as http:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if http.get(f"{url}/v2/models/shoprank/ready").is_success:
                        break
                if process.poll() is not None or time.monotonic() > until:
                    raise InputError(f"{one.name} is not ready: {log.read_text()[-500:]}", "see its log")
                time.sleep(0.2)
        yield url, process
    finally:
        process.terminate()
        process.wait(60)


def measured(url: str, clients: int, script: Path, seconds: int) -> Load:
    """Run wrk once."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"RESULT (.*)", done.stdout)
    assert found, done.stdout
    return Load(**json.loads(found[1]))


def compare(contenders: Sequence[Contender], folder: Path) -> tuple[dict[tuple[str, int], Load], dict[str, float]]:
    """Medians over rounds in which all take turns, by name and clients; resident memory in MB by name."""
    write_bodies(contenders[0].bundle, folder / "bodies")
    script = folder / "script.lua"
    text = _SCRIPT.replace("BODIES", str(folder / "bodies")).replace("PATH", _PATH).replace("SEED", "1")
    script.write_text(text)
    found: dict[tuple[str, int], list[Load]] = {}
    memory: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        urls = {one.name: stack.enter_context(serving(one, folder / f"{at}.log")) for at, one in enumerate(contenders)}
        for url, _ in urls.values():
            measured(url, 4, script, 3)
        for _ in range(ROUNDS):
            for clients in CLIENTS:
                for name, (url, _) in urls.items():
                    found.setdefault((name, clients), []).append(measured(url, clients, script, SECONDS))
        memory = {name: psutil.Process(process.pid).memory_info().rss / 1e6 for name, (_, process) in urls.items()}
    medians = {key: Load(*(float(np.median([getattr(load, field) for load in loads])) for field in
                           ("p50", "p99", "rate", "failed"))) for key, loads in found.items()}  # fmt: skip
    return medians, memory


def table(contenders: Sequence[Contender], found: dict[tuple[str, int], Load], memory: dict[str, float]) -> str:
    """The result table in Markdown; ratios are to the first contender."""
    lines = ["| predictor | clients | p50 | p99 | requests/s | of old: p50 | p99 | requests/s | failed | memory |",
             "|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for clients in CLIENTS:
        old = found[contenders[0].name, clients]
        for one in contenders:
            new = found[one.name, clients]
            figures = f"{new.p50:.1f} ms | {new.p99:.1f} ms | {new.rate:.0f}"
            ratios = f"{new.p50 / old.p50:.2f} | {new.p99 / old.p99:.2f} | {new.rate / old.rate:.2f}"
            rest = f"{new.failed:.0f} | {memory[one.name]:.0f} MB"
            lines.append(f"| {one.name} | {clients} | {figures} | {ratios} | {rest} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--old", default="b19852f", help="commit to compare with")
    parser.add_argument("--old-bundle", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    if not shutil.which("wrk"):
        raise InputError("wrk is not installed", "apt-get install wrk")
    here = Path.cwd()
    bundle, before = given.bundle.resolve(), given.old_bundle.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary) / "old"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(tree), given.old], check=True)
        try:
            contenders = [
                Contender(f"old ({given.old})", tree, before),
                Contender("new, shoppers remembered", here, bundle),
                Contender("new, nothing remembered", here, bundle, ("--cache_mb", "0")),
            ]
            found, memory = compare(contenders, Path(temporary))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], check=True)
    command = shlex.join(["python -m tests.benchmarks.serving.load", *sys.argv[1:]]).replace("'", "")
    facts = f"Medians of {ROUNDS} rounds of {SECONDS} s, in turns; one of four is a search; wrk on the same cores."
    text = table(contenders, found, memory)
    write_table(given.results, "load", f"{facts}\n\n{text}\n\n{provenance(command)}")
    print(text)


if __name__ == "__main__":
    main()
