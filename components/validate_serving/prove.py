"""The serving proof: checks golden answers, latency and memory of the predictor over HTTP."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from components.shared.errors import InputError, ServingError
from components.shared.progress import report
from components.shared.release.bundle import read_manifest
from components.shared.release.golden import TOLERANCE, Golden, read_golden
from components.shared.release.proof import PROOF, Proof
from components.shared.storage import atomic_directory, write_json
from components.shared.telemetry.endpoint import Endpoint
from components.validate_serving.predictor import Predictor, PredictorConfig, running


@dataclass(frozen=True, kw_only=True)
class ProofConfig:
    """Limits and numbers of requests."""

    max_p99_ms: float = 200.0
    """Maximum 99th percentile of the latency over HTTP on loopback, one request at a time."""
    max_memory_mb: float = 2_000.0
    """Maximum resident memory of the predictor, in MB."""
    requests: int = 300
    """Number of timed requests after warm-up."""
    warm_up: int = 20
    """Number of untimed requests before them."""
    tolerance: float = TOLERANCE
    """Maximum difference of a score from its golden score."""
    predictor: PredictorConfig = dataclasses.field(default_factory=PredictorConfig)
    """Options for starting the predictor; its clock must be 'bundle'."""


def prove(bundle: Path, output: Path, config: ProofConfig) -> Proof:
    """Start the predictor on `bundle`, check it, and write `output`/proof.json if all checks passed.

    Args:
        bundle: A registered bundle.
        output: Folder to write.
        config: Limits.

    Raises:
        ServingError: it did not start, gave other answers than the trained model, was too slow or used too much memory.
        InputError: a limit or the number of requests is not above 0.
    """
    if min(config.max_p99_ms, config.max_memory_mb, config.requests) <= 0:
        raise InputError("max_p99_ms, max_memory_mb or requests is not above 0", "give limits above 0")
    manifest, golden = read_manifest(bundle), read_golden(bundle)
    report("validate_serving", 0.0, "starting the predictor")
    with (
        running(bundle, config.predictor) as predictor,
        httpx.Client(base_url=predictor.url, trust_env=False, timeout=30.0) as client,
    ):
        report("validate_serving", 0.3, "golden requests")
        endpoint = Endpoint(client, predictor.name, lambda: f"see the end of its log:\n{predictor.log_tail()}")
        worst = endpoint.replay(golden, config.tolerance)
        milliseconds = _time(endpoint, golden, config)
        memory = predictor.peak_memory_mb()
        proof = Proof(
            name=manifest.name, version=manifest.version,
            content=manifest.content,
            golden=len(golden), max_score_difference=worst, requests=config.requests,
            p50_ms=float(np.percentile(milliseconds, 50)), p99_ms=float(np.percentile(milliseconds, 99)),
            memory_mb=memory, startup_s=predictor.startup_s,
            max_p99_ms=config.max_p99_ms, max_memory_mb=config.max_memory_mb,
        )  # fmt: skip
        _check_limits(proof, predictor)
    with atomic_directory(output) as folder:
        write_json(folder / PROOF, dataclasses.asdict(proof))
    report("validate_serving", 1.0, f"p99 {proof.p99_ms:.1f} ms, {memory:.0f} MB")
    return proof


def _time(endpoint: Endpoint, golden: list[Golden], config: ProofConfig) -> list[float]:
    """Latency of each timed request in milliseconds, repeating the golden requests."""
    spent = []
    for number in range(config.warm_up + config.requests):
        start = time.perf_counter()
        endpoint.answer(golden[number % len(golden)].request)
        spent.append((time.perf_counter() - start) * 1000)
        if number % 100 == 99:
            report("validate_serving", 0.4 + 0.6 * number / (config.warm_up + config.requests), "timing requests")
    return spent[config.warm_up :]


def _check_limits(proof: Proof, predictor: Predictor) -> None:
    if proof.p99_ms > proof.max_p99_ms:
        raise ServingError(
            f"p99 latency is {proof.p99_ms:.1f} ms, the limit (max_p99_ms) is {proof.max_p99_ms:.1f} ms",
            "retrieve fewer candidates, train a smaller size, or raise the limit",
        )
    if proof.memory_mb > proof.max_memory_mb:
        raise ServingError(
            f"the predictor uses {proof.memory_mb:.0f} MB, the limit (max_memory_mb) is {proof.max_memory_mb:.0f} MB",
            f"train a smaller size or raise the limit; started in {predictor.startup_s:.1f} s",
        )
