"""One process at a time decides a rollout: it holds the Lease of the service, renews it, and reads requests to abort.

The protocol is that of Kubernetes' own leader election: who has not renewed for `leaseDurationSeconds` is gone.
"""

import contextlib
import datetime
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from components.shared.cluster.api import Cluster, Manifest
from components.shared.cluster.inference_service import ServiceSpec
from components.shared.cluster.kinds import LEASE
from components.shared.cluster.versions import lease_name, note_versions, read_versions
from components.shared.errors import ClusterError

ABORT_NOTE = "shoprank.example/abort"
"""Annotation of the Lease: why a person wants the rollout to end."""


class LostLease(ClusterError):
    """Another process decides this rollout now."""


@dataclass
class RolloutLease:
    """The Lease of a service, as a process that decides its rollout sees it.

    Attributes:
        cluster: namespace of the service. spec: the service. duration_s: seconds without renewal until it is free.
        identity: of this process.
    """

    cluster: Cluster
    spec: ServiceSpec
    duration_s: float
    identity: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    _lost: bool = field(default=False, init=False)
    _abort: str = field(default="", init=False)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the Lease and renew it while the body runs; waits until that of a process that is gone has run out.

        Raises:
            LostLease: another process holds it.
            ClusterError: the API rejected a request or is unavailable.
        """
        self._acquire()
        over = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(over,), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            over.set()
            renewing.join()
            if not self._lost:
                self._release()

    def check(self) -> str:
        """Why a person wants the rollout to end, '' if nobody does.

        Raises:
            LostLease: another process took over, as this one did not renew in time.
        """
        if self._lost:
            raise self._taken()
        return self._abort

    def _acquire(self) -> None:
        if self.cluster.find(LEASE, lease_name(self.spec.name)) is None:
            note_versions(self.cluster, self.spec, read_versions(self.cluster, self.spec))
        deadline = time.monotonic() + 1.5 * self.duration_s
        while not self._take():
            if time.monotonic() > deadline:
                raise self._taken()
            time.sleep(min(1.0, self.duration_s / 5))

    def _renew(self, over: threading.Event) -> None:
        while not over.wait(self.duration_s / 4):
            # An API server that is away for a while: another process cannot take over meanwhile either.
            with contextlib.suppress(ClusterError):
                self._lost = not self._take()
            if self._lost:
                return

    def _release(self) -> None:
        """Let the next process have it at once; a request to abort has been dealt with."""

        def change(present: Manifest) -> Manifest | None:
            if not self._own(present):
                return None
            freed = {"holderIdentity": None, "renewTime": None}
            return {"metadata": {"annotations": {ABORT_NOTE: None}}, "spec": freed}

        with contextlib.suppress(ClusterError):  # It runs out.
            self.cluster.update(LEASE, lease_name(self.spec.name), change)

    def _take(self) -> bool:
        taken = []

        def change(present: Manifest) -> Manifest | None:
            taken.clear()
            if is_held(present) and not self._own(present):
                return None
            taken.append(True)
            self._abort = (present["metadata"].get("annotations") or {}).get(ABORT_NOTE, "")
            return {"spec": {"holderIdentity": self.identity, "renewTime": _now(),
                             "leaseDurationSeconds": max(1, round(self.duration_s))}}  # fmt: skip

        self.cluster.update(LEASE, lease_name(self.spec.name), change)
        return bool(taken)

    def _own(self, present: Manifest) -> bool:
        return present.get("spec", {}).get("holderIdentity") == self.identity

    def _taken(self) -> LostLease:
        other = holder(self.cluster.get(LEASE, lease_name(self.spec.name)))
        return LostLease(
            f"the rollout of {self.spec.name} is decided by {other or 'another process'}",
            f"wait for its end (shoprank rollout status --service {self.spec.name}), or abort it",
        )


def holder(lease: Manifest) -> str:
    """Identity of the process that decides, '' without one."""
    return lease.get("spec", {}).get("holderIdentity") or ""


def is_held(lease: Manifest) -> bool:
    """Whether a process has renewed the Lease within its duration."""
    spec = lease.get("spec", {})
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return False
    renewed = datetime.datetime.fromisoformat(spec["renewTime"].replace("Z", "+00:00"))
    age = (datetime.datetime.now(datetime.UTC) - renewed).total_seconds()
    return age < spec.get("leaseDurationSeconds", 0)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
