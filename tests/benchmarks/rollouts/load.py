"""Cost of observing a rollout: requests/s of a real predictor, plain, scraped, with its log, and with a shadow.

`python -m tests.benchmarks.rollouts.load --bundle BUNDLE` writes results/rollout-load.md.
"""

import argparse
import itertools
import shutil
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np

from components.rollout_model.guards import Arm, GuardConfig, Interval
from components.rollout_model.judge import Judge
from components.shared.features.spec import FeatureSpec
from components.shared.release.bundle import BundleFacts, read_manifest, sign, write_manifest
from components.shared.release.golden import read_golden
from components.shared.release.signing import load_or_create_key
from components.shared.storage import write_json
from components.validate_serving.predictor import Predictor, PredictorConfig, running
from tests.benchmarks.tables import provenance, write_table

SECONDS, ROUNDS, CLIENTS = 5.0, 3, 4


def requests_per_second(predictor: Predictor, bundle: Path, scrape_s: float = 0.0) -> tuple[float, list[float]]:
    """Run four closed-loop clients with golden requests; return (responses/s, milliseconds of each scrape)."""
    over, answered, scrapes = time.monotonic() + SECONDS, [0] * CLIENTS, list[float]()
    requests = [one.request for one in read_golden(bundle)]

    def shop(client: int) -> None:
        with httpx.Client(base_url=predictor.url, trust_env=False, timeout=30.0) as http:
            for turn in itertools.count(client):
                if time.monotonic() > over:
                    return
                body = {"instances": [requests[turn % len(requests)]]}
                http.post(f"/v1/models/{predictor.name}:predict", json=body).raise_for_status()
                answered[client] += 1

    threads = [threading.Thread(target=shop, args=(client,)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    with httpx.Client(base_url=predictor.url, trust_env=False, timeout=30.0) as http:
        while scrape_s and time.monotonic() < over:
            started = time.perf_counter()
            http.get("/metrics").raise_for_status()
            scrapes.append((time.perf_counter() - started) * 1e3)
            time.sleep(scrape_s)
    for thread in threads:
        thread.join()
    return sum(answered) / SECONDS, scrapes


def measure(bundle: Path) -> dict[str, float]:
    """Measure all configurations in turn, in several rounds, each with its own predictor."""
    found: dict[str, list[float]] = {name: [] for name in ("plain", "scraped", "logged", "shadowed", "scrape_ms")}
    with (
        tempfile.TemporaryDirectory() as logs,
        running(bundle, PredictorConfig()) as plain,
        running(twin(bundle, Path(logs)), PredictorConfig()) as candidate,
    ):
        log = ("--inference_log", f"{logs}/log")
        # The candidate serves the copied requests on the same two cores, unlike in a cluster.
        shadowed = PredictorConfig(further=(*log, "--shadow_url", candidate.url))
        with running(bundle, PredictorConfig(further=log)) as second, running(bundle, shadowed) as third:
            for _ in range(ROUNDS):
                found["plain"].append(requests_per_second(plain, bundle)[0])
                scraped, scrapes = requests_per_second(plain, bundle, 1.0)
                found["scraped"].append(scraped)
                found["scrape_ms"] += scrapes
                found["logged"].append(requests_per_second(second, bundle)[0])
                found["shadowed"].append(requests_per_second(third, bundle)[0])
        with httpx.Client(base_url=plain.url, trust_env=False) as http:
            size = len(http.get("/metrics").content) / 1e3
    return {name: float(np.median(values)) for name, values in found.items()} | {"kB": size, "look_ms": look_ms()}


def twin(bundle: Path, folder: Path) -> Path:
    """Copy the bundle as another version, because a shadow of the same version is ignored."""
    manifest, spec = read_manifest(bundle), FeatureSpec.read(bundle / "spec.json")
    shutil.copytree(bundle, folder / "twin")
    write_json(folder / "twin" / "licences.json", {"twin": True})
    write_manifest(folder / "twin", BundleFacts(
        name=manifest.name, as_of=spec.as_of, schema_hash=manifest.schema_hash, tasks=manifest.tasks
    ))  # fmt: skip
    sign(folder / "twin", load_or_create_key(folder / "key.pem"))
    return folder / "twin"


def look_ms(looks: int = 500) -> float:
    """Return the median time of one look of the judge."""
    judge, arm = Judge(GuardConfig()), Arm(requests=1500, errors=8, empty=20, slow=15, clicks=150, purchases=20)
    judge.start_step(0.5)
    spent = []
    for _ in range(looks):
        started = time.perf_counter()
        judge.observe(Interval(seconds=15, champion=arm, candidate=arm, overlaps=(0.8,) * 15))
        spent.append((time.perf_counter() - started) * 1e3)
    return float(np.median(spent))


def table(found: dict[str, float]) -> str:
    """Return the result table in Markdown."""
    rows = [
        ("plain", f"{found['plain']:.0f} requests/s", ""),
        ("scraped every second (usual: 15 s)", f"{found['scraped']:.0f} requests/s",
         f"{found['scraped'] / found['plain']:.2f} x"),
        ("inference log", f"{found['logged']:.0f} requests/s", f"{found['logged'] / found['plain']:.2f} x"),
        ("inference log and shadow, the candidate on the same cores", f"{found['shadowed']:.0f} requests/s",
         f"{found['shadowed'] / found['plain']:.2f} x"),
        ("one scrape", f"{found['scrape_ms']:.1f} ms, {found['kB']:.0f} kB", ""),
        ("one look of the judge, six guards", f"{found['look_ms']:.2f} ms", ""),
    ]  # fmt: skip
    head = ["| predictor under 4 clients | measured | of plain |", "|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=Path("tests/benchmarks/rollouts/results"))
    arguments = parser.parse_args()
    made = provenance("python -m tests.benchmarks.rollouts.load --bundle BUNDLE")
    text = f"{table(measure(arguments.bundle))}\n\n{made}; median of {ROUNDS} rounds of {SECONDS:.0f} s"
    write_table(arguments.results, "rollout-load", text)
    print(text)


if __name__ == "__main__":
    main()
