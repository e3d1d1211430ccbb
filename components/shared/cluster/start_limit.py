"""Time that nodes of a TrainJob have been waiting to run, and what they wait for."""

import time

from components.shared.cluster.api import Cluster
from components.shared.cluster.kinds import TRAIN_JOB
from components.shared.cluster.train_job import all_ready
from components.shared.cluster.worker_pods import WorkerPod, why_no_pods, worker_pods
from components.shared.errors import ClusterError


class NodesWaiting:
    """Measures how long nodes of a TrainJob have been waiting, since its creation or since all of them ran.

    Args:
        cluster: Cluster of the TrainJob.
        name: Name of the TrainJob.
        nodes: Number of its nodes.
    """

    def __init__(self, cluster: Cluster, name: str, nodes: int):
        self._cluster, self._name, self._nodes = cluster, name, nodes
        self._since, self._pods, self._unlisted = time.monotonic(), list[WorkerPod](), ""

    def seconds(self) -> float:
        """Look at the pods; 0 while all nodes run or have ended.

        Raises:
            ClusterError: the TrainJob cannot be read.
        """
        if self._all_run():
            self._since = time.monotonic()
            return 0.0
        return time.monotonic() - self._since

    @property
    def running(self) -> int:
        """Number of nodes that ran at the last look."""
        return sum(pod.state == "running" for pod in self._pods)

    def reasons(self) -> str:
        """Why nodes did not run at the last look, '' if nothing tells.

        Raises:
            ClusterError: the TrainJob cannot be read.
        """
        job = self._cluster.find(TRAIN_JOB, self._name) or {}
        conditions = [one["message"] for one in job.get("status", {}).get("conditions", []) if one["status"] == "True"]
        pods = [str(pod) for pod in self._pods if pod.state != "running"]
        absent = why_no_pods(self._cluster, self._name) if len(self._pods) < self._nodes else ""
        return "; ".join(part for part in (*conditions, *pods, absent, self._unlisted) if part)

    def _all_run(self) -> bool:
        try:
            self._pods, self._unlisted = worker_pods(self._cluster, self._name), ""
        except ClusterError as error:
            # Without the right to list pods the Job's own count of ready pods is what there is.
            self._pods, self._unlisted = [], error.headline
            return all_ready(self._cluster.find(TRAIN_JOB, self._name) or {})
        return self.running >= self._nodes
