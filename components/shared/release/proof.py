"""The proof that a bundle serves: validate_serving writes it, deploy_model and rollout_model ask for it."""

from dataclasses import dataclass
from pathlib import Path

from components.shared.errors import InputError, RegistryError
from components.shared.evaluation.decision import Decision
from components.shared.release.bundle import verify
from components.shared.storage import read_json

PROOF = "proof.json"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What the real predictor did on one bundle; only a proof that passed is ever written."""

    name: str
    """Model name."""
    version: str
    """Of the bundle."""
    content: str
    """SHA-256 over all files of the bundle (Manifest.content)."""
    golden: int
    """Golden requests that were answered as they must."""
    max_score_difference: float
    """Largest difference of a golden score."""
    requests: int
    """Warm requests that were timed."""
    p50_ms: float
    """Median time of a request over HTTP on loopback, one at a time."""
    p99_ms: float
    """99th percentile of the same."""
    memory_mb: float
    """Largest resident memory."""
    startup_s: float
    """Seconds from start to ready."""
    max_p99_ms: float
    """Limit that held."""
    max_memory_mb: float
    """Limit that held."""

    def metrics(self) -> dict[str, float]:
        """Everything measured, by flat name."""
        names = ("golden", "max_score_difference", "p50_ms", "p99_ms", "memory_mb", "startup_s")
        return {name: float(getattr(self, name)) for name in names}


def read_proof(folder: Path) -> Proof:
    """Read proof.json.

    Raises:
        InputError: it is missing or of another form.
    """
    raw = read_json(folder / PROOF)
    try:
        return Proof(**raw)
    except TypeError as error:
        raise InputError(f"{folder / PROOF} is not a proof: {error}", "run validate_serving again") from error


def check_release_gates(bundle: Path, reference: tuple[str, str], decision: Decision, proof: Proof) -> None:
    """Refuse to release what is not blessed, or not proven to serve; the proof must be of exactly these files.

    Args:
        bundle: The registered bundle.
        reference: Model name and version.
        decision: Of its evaluation.
        proof: Of validate_serving.

    Raises:
        RegistryError: names what is missing.
        BundleError: the bundle is not whole any more.
    """
    name, version = reference
    if not decision.blessed:
        raise RegistryError(
            f"{name}/{version} is not blessed: {'; '.join(decision.reasons) or 'no reason given'}",
            "train a better model; the champion stays as it is",
        )
    if (proof.name, proof.version) != reference:
        raise RegistryError(
            f"the proof is of {proof.name}/{proof.version}, not of {name}/{version}",
            "run validate_serving on the version that is to be released",
        )
    if proof.content != verify(bundle, None).content:
        raise RegistryError(f"the proof is of other files than {bundle} holds", "run validate_serving on this version")
