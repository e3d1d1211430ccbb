"""The serving proof of a bundle, written by validate_serving and required by deploy_model and rollout_model."""

from dataclasses import dataclass
from pathlib import Path

from components.shared.errors import InputError, RegistryError
from components.shared.evaluation.decision import Decision
from components.shared.release.bundle import verify
from components.shared.storage import read_json

PROOF = "proof.json"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Measurements of the predictor on one bundle; only written if all checks passed."""

    name: str
    """Model name."""
    version: str
    """Version of the bundle."""
    content: str
    """SHA-256 over all files of the bundle (Manifest.content)."""
    golden: int
    """Number of golden requests with the expected answer."""
    max_score_difference: float
    """Largest difference of a golden score."""
    requests: int
    """Number of timed requests after warm-up."""
    p50_ms: float
    """Median latency over HTTP on loopback, without concurrency."""
    p99_ms: float
    """99th percentile of the latency."""
    memory_mb: float
    """Maximum resident memory."""
    startup_s: float
    """Seconds from start to ready."""
    max_p99_ms: float
    """Limit of p99_ms in this check."""
    max_memory_mb: float
    """Limit of memory_mb in this check."""

    def metrics(self) -> dict[str, float]:
        """All measurements by flat name."""
        names = ("golden", "max_score_difference", "p50_ms", "p99_ms", "memory_mb", "startup_s")
        return {name: float(getattr(self, name)) for name in names}


def read_proof(folder: Path) -> Proof:
    """Read proof.json.

    Raises:
        InputError: it is missing or has another format.
    """
    raw = read_json(folder / PROOF)
    try:
        return Proof(**raw)
    except TypeError as error:
        raise InputError(f"{folder / PROOF} is not a proof: {error}", "run validate_serving again") from error


def check_release_gates(bundle: Path, reference: tuple[str, str], decision: Decision, proof: Proof) -> None:
    """Check that a version passed the release gates and has a serving proof for exactly its files.

    Args:
        bundle: The registered bundle.
        reference: Model name and version.
        decision: Decision of the evaluation.
        proof: Proof of validate_serving.

    Raises:
        RegistryError: names what is missing.
        BundleError: the bundle is no longer complete.
    """
    name, version = reference
    if not decision.blessed:
        raise RegistryError(
            f"{name}/{version} is not blessed: {'; '.join(decision.reasons) or 'no reason given'}",
            "train a better model; the champion is unchanged",
        )
    if (proof.name, proof.version) != reference:
        raise RegistryError(
            f"the serving proof is for {proof.name}/{proof.version}, not for {name}/{version}",
            "run validate_serving on the version to release",
        )
    if proof.content != verify(bundle, None).content:
        raise RegistryError(
            f"the serving proof does not match the files of {bundle}", "run validate_serving on this version"
        )
