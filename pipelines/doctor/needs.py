"""A run's needs as data: each is read from the cluster and judged."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from components.shared.cluster.access import AccessProblem, access_problem
from components.shared.cluster.api import Manifest
from components.shared.errors import ClusterError, MissingObject
from pipelines.installing import STEPS_ACCOUNT

State = Literal["ok", "missing", "absent", "unknown"]
"""`missing` is needed; `absent` is needed by some runs only; `unknown` could not be checked."""


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
    """What is there, what is wrong, or why it could not be checked."""
    fix: str = ""
    """What to do, unless it is there. Commands have lines of their own (see `is_command`)."""
    required: bool = True
    """Whether this run needs it."""

    def document(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return asdict(self)


class Unmet(Exception):
    """A judgement: what is wrong with what was read.

    Args:
        problem: What is wrong.
        fix: What to do; '': that of the need.
    """

    def __init__(self, problem: str, fix: str = ""):
        super().__init__(problem)
        self.fix = fix


class Undecided(Exception):
    """A judgement: why what was read does not tell."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something that a run needs.

    Attributes:
        name: what it is. namespace: where, '' if cluster-wide. read: reads it from the cluster.
        judge: says what is there, or raises Unmet or Undecided. fix: what to do when it is not met.
        only_for: what it is needed for; '' if for this run.
        depends: namespaces without which it cannot be judged, as an empty list says nothing there.
    """

    name: str
    namespace: str
    read: Callable[[], Any]
    judge: Callable[[Any], str]
    fix: str
    only_for: str = ""
    depends: tuple[str, ...] = ()

    def finding(self) -> tuple[Finding, AccessProblem | None]:
        """Read and judge it; with the problem if it could not be read."""
        try:
            return self._finding("ok", self.judge(self.read()), ""), None
        except MissingObject as error:
            unknown_kind = "does not know" in error.headline
            return self._unmet(error.headline.partition(": ")[2] if unknown_kind else "not found", self.fix), None
        except Unmet as problem:
            return self._unmet(str(problem), problem.fix or self.fix), None
        except Undecided as reason:
            return self.unknown(str(reason), self.fix), None
        except ClusterError as error:
            problem = access_problem(error)
            return self.unknown(problem.cause, problem.fix), problem

    def unknown(self, reason: str, fix: str) -> Finding:
        """That it could not be checked."""
        return self._finding("unknown", reason, fix)

    def _unmet(self, found: str, fix: str) -> Finding:
        if self.only_for:
            return self._finding("absent", f"{found}; needed only for {self.only_for}", fix)
        return self._finding("missing", found, fix)

    def _finding(self, state: State, found: str, fix: str) -> Finding:
        return Finding(self.name, self.namespace, state, found, fix, required=not self.only_for)


def exists(_: Manifest) -> str:
    """Nothing but its existence counts."""
    return "there"


def is_command(line: str) -> bool:
    """Whether a line of a fix is a command for a shell; it then holds nothing else."""
    return line.startswith(("kubectl ", "shoprank "))
