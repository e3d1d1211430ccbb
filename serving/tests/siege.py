"""Many hostile clients at once beside one that means well: `python -m serving.tests.siege`.

Writes what that one got meanwhile, and what the server's memory was, to tests/benchmarks/robustness/results.
"""

import argparse
import contextlib
import json
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from components.validate_serving.predictor import Predictor, PredictorConfig, running
from serving.tests.fuzzing import RESULTS
from serving.tests.handmade import write_bundle
from serving.tests.hostile import PREDICT, answer_to, connect, packed, post
from tests.benchmarks.tables import provenance, write_table

SECONDS = 8.0
GOOD = json.dumps({"instances": [{"user_id": "ann", "k": 5}]}).encode()


@dataclass
class Siege:
    """What happened under one attack."""

    name: str
    fate: str
    times: list[float]
    failures: int
    memory_mb: float

    def row(self) -> str:
        """A row of the table."""
        ordered = sorted(self.times)
        p99 = ordered[int(0.99 * (len(ordered) - 1))] if ordered else float("nan")
        return (f"| {self.name} | {self.fate} | {len(self.times):,} | {self.failures} | "
                f"{1000 * statistics.median(ordered):.1f} | {1000 * p99:.1f} | {self.memory_mb:.0f} |")  # fmt: skip


def held(port: int, count: int, sent: bytes) -> list:
    """Connections that sent some bytes and wait."""
    found = []
    for _ in range(count):
        found.append(connect(port))
        if sent:
            with contextlib.suppress(OSError):
                found[-1].sendall(sent)
    return found


@contextlib.contextmanager
def waiting(port: int, count: int, sent: bytes, byte: bytes = b"") -> Iterator[Callable[[], str]]:
    """Clients that keep a connection with an unfinished request, to which they may add a byte each second."""
    stop, clients = threading.Event(), held(port, count, sent)

    def trickle() -> None:
        while not stop.wait(1.0):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.sendall(byte)

    thread = threading.Thread(target=trickle, daemon=True)
    if byte:
        thread.start()

    def fate() -> str:
        opened = 0
        for client in clients:
            client.settimeout(0)
            try:
                opened += client.recv(1) != b""
            except BlockingIOError:
                opened += 1
            except OSError:
                pass
        return f"{opened:,} of {count:,} still open"

    try:
        yield fate
    finally:
        stop.set()
        if byte:
            thread.join()
        for client in clients:
            client.close()


@contextlib.contextmanager
def flooding(port: int, request: bytes, threads: int = 4) -> Iterator[Callable[[], str]]:
    """Clients that send the same request again and again, each on a new connection."""
    stop, answers = threading.Event(), []

    def flood() -> None:
        while not stop.is_set():
            answers.append(str(answer_to(port, request)))

    workers = [threading.Thread(target=flood, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield lambda: ", ".join(f"{one}: {answers.count(one):,}" for one in sorted(set(answers)))
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def besieged(predictor: Predictor, name: str, attack) -> Siege:
    """Ask as a good client while an attack goes on."""
    times, failures = [], 0
    with attack as fate, httpx.Client(base_url=predictor.url, trust_env=False, timeout=30) as http:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            started = time.perf_counter()
            try:
                failures += http.post(PREDICT, content=GOOD).status_code != 200
            except httpx.TransportError:
                failures += 1
            times.append(time.perf_counter() - started)
        became = fate()
    return Siege(name, became, times, failures, predictor.peak_memory_mb())


def sieges(predictor: Predictor, connections: int) -> Iterator[Siege]:
    """Every attack, one after another."""
    port = int(predictor.url.rsplit(":", 1)[1])
    slow_body = post(length=900_000)
    many = b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: a\r\n" % number for number in range(20_000)) + b"\r\n"
    bomb = packed(500_000_000)
    yield besieged(predictor, "nobody", contextlib.nullcontext(lambda: ""))
    for name, attack in (
        (f"{connections:,} silent connections", waiting(port, connections, b"")),
        (f"{connections:,} silent connections of gRPC", waiting(predictor.grpc_port, connections, b"")),
        ("2,000 slow headers", waiting(port, 2_000, b"GET / HTTP/1.1\r\nx: ", b"a")),
        ("2,000 slow bodies", waiting(port, 2_000, slow_body, b"a")),
        ("floods of 20,000 headers", flooding(port, many)),
        (f"gzip bombs of 500 MB ({len(bomb) // 1_000} KB sent)",
         flooding(port, post(b"content-encoding: gzip\r\n", bomb))),
        ("bodies of 5 MB", flooding(port, post(body=b" " * 5_000_000))),
    ):  # fmt: skip
        yield besieged(predictor, name, attack)


def main() -> int:
    """Run the attacks and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, arguments.connections + 1_000), hard))
    found = []
    with tempfile.TemporaryDirectory(prefix="siege-") as folder:
        bundle = write_bundle(Path(folder) / "bundle", Path(folder) / "key.pem")
        config = PredictorConfig(public_key=Path(folder) / "key.pem.pub", further=("--max_arrival_s", "5"))
        with running(bundle, config) as predictor:
            for one in sieges(predictor, arguments.connections):
                print(one.row(), flush=True)
                found.append(one)
            ended = predictor.process.poll()
    lines = [
        "# Hostile clients", "",
        f"One client asks without pause for {SECONDS:.0f} s beside the attackers, who run on the same machine. "
        "`--max_arrival_s 5`.", "",
        "| attack | what became of it | answers to the good client | failed | p50 ms | p99 ms | peak memory of the "
        "server so far, MB |", "|---|---|---|---|---|---|---|", *(one.row() for one in found), "",
        provenance(f"python -m serving.tests.siege --connections {arguments.connections}"),
    ]  # fmt: skip
    write_table(arguments.out, "hostile-clients", "\n".join(lines))
    return 1 if ended is not None or any(one.failures for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
