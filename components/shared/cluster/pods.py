"""Logs of a TrainJob's pods, streamed line by line, each line once."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import urllib3
from kubernetes.client import ApiException, CoreV1Api

from components.shared.cluster.api import Cluster
from components.shared.cluster.worker_pods import CONTAINER, JOB_LABEL, NODE_LABEL

_TRANSPORT = (urllib3.exceptions.HTTPError, OSError)


@dataclass(frozen=True)
class PodLogs:
    """Logs of pods, read from the Kubernetes API.

    Attributes:
        cluster: where the pods are.
        every_s: seconds between checks for new pods and interrupted logs.
        drain_s: seconds to wait for the logs of running pods after the end of the TrainJob.
    """

    cluster: Cluster
    every_s: float = 2.0
    drain_s: float = 10.0

    @contextlib.contextmanager
    def opened(self, job: str, emit: Callable[[str], None]) -> Iterator[None]:
        """Follow the logs of all pods of the job, including pods created by restarts."""
        follower = _Follower(self, job, emit)
        watcher = threading.Thread(target=follower.watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            follower.closing.set()
            watcher.join(self.drain_s)
            deadline = time.monotonic() + self.drain_s
            for reader in follower.readers.values():
                reader.join(max(0.0, deadline - time.monotonic()))

    def pods(self, job: str) -> list[Any]:
        """List the pods of the job."""
        found: Any = CoreV1Api(self.cluster.client).list_namespaced_pod(
            self.cluster.namespace, label_selector=f"{JOB_LABEL}={job}", _request_timeout=30
        )
        return found.items


class _Follower:
    """One reader thread per container, restarted if the log ends before the container."""

    def __init__(self, logs: PodLogs, job: str, emit: Callable[[str], None]):
        self.logs, self.job, self.emit = logs, job, emit
        self.closing = threading.Event()
        self.readers: dict[tuple[str, int], threading.Thread] = {}
        self.seen: dict[tuple[str, int], str] = {}
        """Time of the last emitted line, by container."""
        self.whole: set[tuple[str, int]] = set()
        """Containers that had ended when their reader started, so their logs are complete."""
        self.printed: set[str] = set()

    def watch(self) -> None:
        """Start readers for started containers; checks once more when closing."""
        while True:
            last = self.closing.is_set()
            try:
                for pod in self.logs.pods(self.job):
                    self._read(pod)
            except (ApiException, *_TRANSPORT) as error:
                self._tell(f"the workers' pods cannot be listed: {_reason(error)}")
            if last:
                return
            self.closing.wait(self.logs.every_s)

    def _read(self, pod: Any) -> None:
        statuses = [one for one in pod.status.container_statuses or [] if one.name == CONTAINER]
        if not statuses or statuses[0].state.waiting:
            return
        key = (pod.metadata.uid, statuses[0].restart_count)
        if key in self.whole or (key in self.readers and self.readers[key].is_alive()):
            return
        if statuses[0].state.terminated:
            self.whole.add(key)
        node = (pod.metadata.labels or {}).get(NODE_LABEL, "0")
        arguments = (key, pod.metadata.name, f"[node {node}] ")
        self.readers[key] = threading.Thread(target=self._follow, args=arguments, daemon=True)
        self.readers[key].start()

    def _follow(self, key: tuple[str, int], pod: str, prefix: str) -> None:
        """Emit the container's lines, each once, until its log ends or is interrupted."""
        seen = self.seen.get(key, "")
        since = {"since_seconds": _seconds_since(seen)} if seen else {}
        try:
            stream: Any = CoreV1Api(self.logs.cluster.client).read_namespaced_pod_log(
                pod, self.logs.cluster.namespace, container=CONTAINER, follow=True, timestamps=True,
                _preload_content=False, _request_timeout=(30, 600), **since,
            )  # fmt: skip
            with contextlib.closing(stream):
                for stamp, line in _lines(stream):
                    if stamp > self.seen.get(key, ""):
                        self.emit(prefix + line)
                        self.seen[key] = stamp
        except ApiException as error:
            if error.status != 404:
                self._tell(f"the log of {pod} cannot be read: {_reason(error)}")
        except _TRANSPORT:
            self.whole.discard(key)

    def _tell(self, line: str) -> None:
        if line not in self.printed:
            self.printed.add(line)
            self.emit(line)


def _lines(stream: Any) -> Iterator[tuple[str, str]]:
    """Yield (time, line) of a log with timestamps; an incomplete last line is omitted."""
    rest = b""
    for chunk in stream.stream(amt=None):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            stamp, _, text = line.decode(errors="replace").partition(" ")
            yield stamp, text


def _seconds_since(stamp: str) -> int:
    then = datetime.fromisoformat(stamp[:19] + "+00:00").timestamp()
    return max(1, math.ceil(time.time() - then) + 1)


def _reason(error: Exception) -> str:
    return f"{error.status} {error.reason}" if isinstance(error, ApiException) else str(error)
