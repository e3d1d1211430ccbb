"""Speed and memory compared with common alternatives, as ratios from one run.

`make bench` writes results/bench.md. Every figure is measured in a separate process.
"""

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from components.shared.errors import ShoprankError
from components.shared.schema.sizes import size_named
from components.shared.storage import read_json, write_json
from tests.benchmarks.memory import peak_memory_mb
from tests.benchmarks.tables import provenance, write_table
from tests.ports import free_port

SIZE = "small"
STEPS, WARM = 40, 5


class BenchFailed(ShoprankError):
    """The process of a measurement ended without a figure."""


def our_rows(folder: Path) -> dict[str, float]:
    """Events per second through ingest_events and build_features."""
    from components.build_features.build import build
    from components.build_features.config import FeatureOptions
    from components.ingest_events.ingest import IngestOutputs, ingest

    outputs = IngestOutputs(**{name: folder / name for name in ("events", "items", "users", "rejected")})
    started = time.perf_counter()
    events = ingest("complete-journey", outputs, SIZE).events
    build(folder / "events", folder / "items", folder / "features", FeatureOptions.for_size(size_named(SIZE)))
    return {"value": events / (time.perf_counter() - started)}


def pandas_rows(folder: Path) -> dict[str, float]:
    """Events per second for the retriever's rows in pandas, from the ingested events; this is less work than ours."""
    import pandas as pd
    import pyarrow.parquet as pq

    from components.shared.schema.timeline import Timeline
    from tests.benchmarks.speed.rivals import pandas_rows as rival

    until = pd.to_datetime(Timeline.read(folder / "features" / "timeline.json").retriever_end, unit="s", utc=True)
    rows = sum(pq.read_metadata(path).num_rows for path in (folder / "events").rglob("*.parquet"))
    started = time.perf_counter()
    rival(folder / "events", folder / "items", until)
    return {"value": rows / (time.perf_counter() - started)}


def our_training(folder: Path) -> dict[str, float]:
    """Rows per second of retriever training with TorchRec, one process."""
    from components.shared.training.group import process_group, quiet_third_parties
    from components.train_retriever.job import WorkerJob
    from components.train_retriever.worker import Training
    from tests.benchmarks.speed.rivals import clocked

    quiet_third_parties()
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}  # fmt: skip
    config = _training_config()
    job = WorkerJob(features=str(folder / "features"), folder=str(folder), training=config.digest_settings)
    with process_group() as group:
        training = Training(job, group)
        seconds = clocked(lambda number: training.step(0, number % training.steps_per_epoch()), WARM, STEPS)
    return {"value": STEPS * config.sampling.batch_size / seconds}


def plain_training(folder: Path) -> dict[str, float]:
    """Rows per second of the same batches, towers and loss with nn.EmbeddingBag and Adam."""
    import torch

    from components.shared.features.catalog import Catalog
    from components.shared.features.rows import Rows
    from components.shared.features.spec import FeatureSpec
    from components.shared.models.retriever import RetrieverConfig
    from components.train_retriever.batches import draw_batch
    from components.train_retriever.losses.softmax import sampled_softmax
    from components.train_retriever.sources import HeldRows
    from tests.benchmarks.speed.rivals import PlainRetriever, clocked

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    config = _training_config()
    spec = FeatureSpec.read(folder / "features" / "spec.json")
    catalog = Catalog.read(folder / "features" / "items.parquet", spec)
    sampling = config.sampling
    every = slice(0, sampling.batch_size)
    source = HeldRows(Rows.read(folder / "features" / "rows" / "retriever.parquet", spec), sampling, every)
    log_q = torch.from_numpy(source.log_q(len(catalog)))
    model = PlainRetriever(RetrieverConfig.from_spec(spec, config.embedding_dim, config.hidden_dim))
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step(number: int) -> None:
        at = (0, number % source.steps_per_epoch)
        batch = draw_batch(source.rows(*at), catalog, sampling, at, every)
        item = torch.from_numpy(batch.item)
        adam.zero_grad()
        users, items, biases = model(batch.features, batch.items)
        sampled_softmax(users, items, biases, item, log_q[item]).backward()
        adam.step()

    seconds = clocked(step, WARM, STEPS)
    torch.distributed.destroy_process_group()
    return {"value": STEPS * sampling.batch_size / seconds}


def serving(folder: Path) -> dict[str, float]:
    """Requests to the real predictor over HTTP by 1 and by 16 clients: milliseconds and requests per second."""
    import httpx
    import pyarrow.parquet as pq

    from components.validate_serving.predictor import PredictorConfig, running

    users = pq.read_table(folder / "bundle" / "users.parquet")["user_id"].to_pylist()[:300]
    figures: dict[str, float] = {}
    with running(folder / "bundle", PredictorConfig()) as predictor:
        url = f"{predictor.url}/v1/models/{predictor.name}:predict"

        def client(part: list[str]) -> list[float]:
            seconds = []
            with httpx.Client(trust_env=False, timeout=60.0) as http:
                for user in part:
                    started = time.perf_counter()
                    http.post(url, json={"instances": [{"user_id": user, "k": 10}]}).raise_for_status()
                    seconds.append(time.perf_counter() - started)
            return seconds

        client(users[:20])
        for clients in (1, 16):
            started = time.perf_counter()
            with concurrent.futures.ThreadPoolExecutor(clients) as pool:
                parts = list(pool.map(client, [users[number::clients] for number in range(clients)]))
            taken = np.concatenate([np.array(part) for part in parts]) * 1e3
            figures |= {f"p50_{clients}": float(np.median(taken)), f"p99_{clients}": float(np.quantile(taken, 0.99)),
                        f"rps_{clients}": len(taken) / (time.perf_counter() - started)}  # fmt: skip
        figures["memory_mb"] = predictor.peak_memory_mb()
    return figures


def compiled_rank(folder: Path) -> dict[str, float]:
    """Milliseconds per request in one process with the compiled models."""
    from components.shared.recommender.recommender import Recommender

    return _rank(Recommender.open(folder / "bundle"))


def eager_rank(folder: Path) -> dict[str, float]:
    """Milliseconds per request with the trained TorchRec modules, one thread."""
    import torch

    from components.shared.recommender.candidates import CandidateConfig
    from components.shared.recommender.offline import open_offline
    from components.shared.training.group import quiet_third_parties

    quiet_third_parties()
    torch.set_num_threads(1)
    config = CandidateConfig(**read_json(folder / "ranker" / "candidates.json"))
    return _rank(open_offline(folder / "features", folder / "retriever", folder / "ranker", config))


def _rank(recommender) -> dict[str, float]:
    seconds = []
    for shopper in range(1, 121):
        histories = recommender.store.before(
            np.array([shopper]), np.array([recommender.spec.as_of]), recommender.spec.max_history
        )
        started = time.perf_counter()
        recommender.rank(histories, 10)
        seconds.append(time.perf_counter() - started)
    return {"value": float(np.median(seconds[20:])) * 1e3, "p99": float(np.quantile(seconds[20:], 0.99)) * 1e3}


MEASURES: tuple[Callable[[Path], dict[str, float]], ...] = (
    our_rows, pandas_rows, our_training, plain_training, compiled_rank, eager_rank, serving,
)  # fmt: skip


def _training_config():
    from components.train_retriever.config import RetrieverTraining

    return RetrieverTraining.from_size(size_named(SIZE)).replace(epochs=1)


def prepare(folder: Path) -> None:
    """Train a model of the benchmark's size once and sign its bundle; the speeds do not depend on its quality."""
    from components.compile_model.compile import compile_model
    from components.compile_model.config import CompileOptions
    from components.register_model.register import RegisterConfig, register
    from components.shared.release.signing import create_key
    from components.train_ranker.config import RankerTraining
    from components.train_ranker.train import train as train_ranker
    from components.train_retriever.config import RetrieverTraining
    from components.train_retriever.train import train as train_retriever
    from components.validate_data.validate import validate

    size = size_named(SIZE)
    features = folder / "features"
    validate(folder / "events", folder / "items", folder / "users", folder / "statistics", folder / "data.html")
    train_retriever(features, folder / "retriever", RetrieverTraining.from_size(size, 0))
    train_ranker(features, folder / "retriever", folder / "ranker", RankerTraining.from_size(size, 0))
    models = (features, folder / "retriever", folder / "ranker", folder / "statistics")
    compile_model(*models, folder / "compiled", CompileOptions())
    release = RegisterConfig(registry=folder / "registry", name="bench", signing_key=folder / "key.pem")
    create_key(release.signing_key)
    register(folder / "compiled", None, folder / "bundle", release)


def measure(name: str, folder: Path) -> dict[str, float]:
    """Run one measurement in a separate process; its figures include the peak memory.

    Raises:
        BenchFailed: the process ended without a figure.
    """
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.benchmarks.speed.bench",
        "--out",
        str(folder),
        "--measure",
        name,
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BenchFailed(f"{name} ended with code {done.returncode}", "run it alone with --measure to see why")
    return json.loads(done.stdout.splitlines()[-1])


def table(found: dict[str, dict[str, float]]) -> str:
    """Return the result table in Markdown."""

    def row(what: str, ours: str, rival: str, unit: str, faster: bool = True) -> str:
        one, other = found[ours], found[rival]
        ratio = one["value"] / other["value"] if faster else other["value"] / one["value"]
        memory = f"{one['memory_mb']:.0f} / {other['memory_mb']:.0f} MB"
        return f"| {what} | {one['value']:,.1f} {unit} | {other['value']:,.1f} {unit} | {ratio:.2f} x | {memory} |"

    http = found["serving"]
    clients = "\n".join(
        f"| predictor over HTTP, {n} client{'s' * (n > 1)} | {http[f'p50_{n}']:.1f} ms median, "
        f"{http[f'p99_{n}']:.1f} ms p99 | {http[f'rps_{n}']:.1f} requests/s | | {http['memory_mb']:.0f} MB |"
        for n in (1, 16)
    )
    return "\n".join(
        [
            "| what | shoprank | instead | ratio | peak memory |",
            "|---|---|---|---|---|",
            row("ingest and features; instead: the retriever's rows alone, in pandas", "our_rows", "pandas_rows",
                "events/s"),
            row("training the retriever, 1 process; instead: nn.EmbeddingBag + Adam", "our_training", "plain_training",
                "rows/s"),
            row("one ranked answer, 1 thread; instead: the trained modules, eager", "compiled_rank", "eager_rank", "ms",
                faster=False),
            clients,
        ]
    )  # fmt: skip


def main() -> None:
    """Measure everything and write the table, or print one measurement as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--measure", choices=[one.__name__ for one in MEASURES])
    parser.add_argument("--results", type=Path, default=Path("tests/benchmarks/speed/results"))
    arguments = parser.parse_args()
    folder = arguments.out.resolve()
    if arguments.measure:
        chosen = next(one for one in MEASURES if one.__name__ == arguments.measure)
        figures = chosen(folder)
        print(json.dumps({"memory_mb": peak_memory_mb(), **figures}))
        return
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for one in MEASURES:
        if one is compiled_rank:
            prepare(folder)
        found[one.__name__] = measure(one.__name__, folder)
        print(one.__name__, found[one.__name__], flush=True)
    write_json(folder / "bench.json", found)
    text = f"{table(found)}\n\n{provenance('make bench')}; Complete Journey, size {SIZE}"
    write_table(arguments.results, "bench", text)
    print(text)


if __name__ == "__main__":
    main()
