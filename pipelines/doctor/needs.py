"""A run's needs as data: each is read from the cluster and judged."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from components.shared.cluster.api import Manifest
from components.shared.errors import ClusterError, MissingObject
from pipelines.installing import STEPS_ACCOUNT

State = Literal["ok", "missing", "absent", "unknown"]
"""`missing` is needed; `absent` is needed by some runs only; `unknown` may not be asked."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run uses."""

    namespace: str
    """Namespace of the steps and of their TrainJobs."""
    serving_namespace: str = ""
    """Namespace of the InferenceService; empty: the run deploys nothing."""
    service_account: str = STEPS_ACCOUNT
    """Service account of the steps."""
    kfp_namespace: str = "kubeflow"
    """Namespace of Kubeflow Pipelines itself."""
    signs: bool = True
    """Whether the run registers a version, which it signs."""
    train_jobs: bool = False
    """Whether training runs as a TrainJob."""
    guarded: bool = False
    """Whether a guarded rollout decides, in a Job."""
    gateway: str = ""
    """Gateway that splits the traffic of a guarded rollout; empty: none is needed."""
    object_store: bool = False
    """Whether predictors load bundles from an object store that needs a login."""


@dataclass(frozen=True)
class Finding:
    """One need and whether it is met."""

    need: str
    """What is needed."""
    namespace: str
    """Where; empty for a cluster-wide object."""
    state: State
    """See State."""
    found: str
    """What is there, or what is wrong."""
    fix: str = ""
    """What to do, unless it is there."""

    def document(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return asdict(self)


class Unmet(Exception):
    """A judgement: what is wrong with what was read."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something that a run needs.

    Attributes:
        name: what it is. namespace: where, '' if cluster-wide. read: reads it from the cluster.
        judge: says what is there, or raises Unmet. fix: what to do when it is not met.
        only_for: what it is needed for; '' if for this run.
    """

    name: str
    namespace: str
    read: Callable[[], Any]
    judge: Callable[[Any], str]
    fix: str
    only_for: str = ""

    def finding(self) -> Finding:
        """Read and judge it."""
        try:
            return Finding(self.name, self.namespace, "ok", self.judge(self.read()))
        except MissingObject as error:
            unknown_kind = "does not know" in error.headline
            return self._unmet(error.headline.partition(": ")[2] if unknown_kind else "not found")
        except Unmet as problem:
            return self._unmet(str(problem))
        except ClusterError as error:
            return Finding(self.name, self.namespace, "unknown", error.headline, error.fix)

    def _unmet(self, found: str) -> Finding:
        if self.only_for:
            return Finding(self.name, self.namespace, "absent", f"{found}; needed only for {self.only_for}", self.fix)
        return Finding(self.name, self.namespace, "missing", found, self.fix)


def exists(_: Manifest) -> str:
    """Nothing but its existence counts."""
    return "there"
