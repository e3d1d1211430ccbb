"""Configuration of the served model, set by the command line."""

from dataclasses import dataclass, field
from pathlib import Path

from components.shared.cgroup import usable_cpus
from serving.clock import ClockOption
from serving.exploring import ExplorationConfig
from serving.shadow import ShadowConfig
from serving.state.store import StateStore


def default_threads() -> int:
    """Default number of request threads: the usable CPUs, at most 8, beyond which they would contend for the GIL."""
    return min(8, usable_cpus())


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Configuration of the served model."""

    folder: Path
    """Folder of the bundle."""
    public_key: Path | None = None
    """Key that verifies the signature; None verifies only the checksums."""
    clock: ClockOption = "auto"
    """Clock for requests without a timestamp."""
    threads: int = field(default_factory=default_threads)
    """Number of batches of requests processed in parallel."""
    model_threads: int = 1
    """Threads per model call."""
    max_batch: int = 16
    """Instances that are answered together."""
    max_pending: int = 256
    """Requests that may wait or run before new ones get 429."""
    cache_mb: int = 64
    """Megabytes of candidates that are remembered by shopper."""
    deadline_ms: float = 30_000
    """How long a request may take that states no deadline of its own."""
    inference_log: Path | None = None
    """Folder of the inference log; None disables it."""
    rules: Path | None = None
    """File of rules, which is followed; None: no rules."""
    state: StateStore | None = None
    """Online events of shoppers; None: none."""
    exploration: ExplorationConfig | None = None
    """Exploration; None disables it."""
    shadow: ShadowConfig | None = None
    """Shadow that gets copies of live requests; None disables it."""
