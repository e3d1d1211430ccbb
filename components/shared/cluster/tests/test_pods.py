"""Logs and states of real pods: streamed line by line, with cut connections, restarts, and pods that cannot run."""

import contextlib
import json
import time

import pytest

from components.shared.cluster.pods import PodLogs
from components.shared.cluster.worker_pods import CONTAINER, JOB_LABEL, NODE_LABEL, has_pods, why_no_pods, worker_pods
from components.shared.errors import ClusterError
from components.shared.images import TRAIN_IMAGE
from components.shared.tests.waiting import eventually

pytestmark = pytest.mark.slow

_SECURE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
           "seccompProfile": {"type": "RuntimeDefault"}}  # fmt: skip


class Pods:
    """Pods with the labels of a TrainJob `one`, without its controllers."""

    def __init__(self, node, cluster):
        self.node, self.cluster = node, cluster
        assert eventually(self._has_account)

    def start(self, name, number=0, script="true", **changes):
        """Start a pod that runs a shell script; `changes` are of its container."""
        container = {"name": CONTAINER, "image": TRAIN_IMAGE, "command": ["sh", "-c", script],
                     "securityContext": _SECURE, **changes}  # fmt: skip
        self._create({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {JOB_LABEL: "one", NODE_LABEL: str(number)}},
            "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]},
        })  # fmt: skip

    def kubectl(self, *words, given=""):
        return self.node.kubectl("-n", self.cluster.namespace, *words, given=given)

    def _create(self, body):
        self.kubectl("create", "-f", "-", given=json.dumps(body))

    def _has_account(self):
        return self.cluster.read("serviceaccounts")["items"]


@pytest.fixture
def pods(node, cluster):
    return Pods(node, cluster)


@pytest.fixture
def logs(cluster):
    return PodLogs(cluster, every_s=0.1, drain_s=5)


@contextlib.contextmanager
def collected(logs):
    found: list[str] = []
    with logs.opened("one", found.append):
        yield found


def counting(lines, pause_s):
    return f"for at in $(seq {lines}); do echo line $at: ü; sleep {pause_s}; done"


def test_lines_of_all_nodes_are_streamed_as_they_are_written(logs, pods):
    pods.start("a", 0, "echo from a; sleep 2; echo progress train_ranker 0.500 half; sleep 600")
    pods.start("b", 1, "echo 'from b: ü'; sleep 2; echo the end")
    with collected(logs) as found:
        assert eventually(lambda: len(found) == 4)
        assert logs.cluster.read("pods/a")["status"]["phase"] == "Running", "its log is not at its end"
    assert [line for line in found if "node 0" in line] == [
        "[node 0] from a", "[node 0] progress train_ranker 0.500 half"
    ]  # fmt: skip
    assert [line for line in found if "node 1" in line] == ["[node 1] from b: ü", "[node 1] the end"]


def test_interrupted_log_resumes_with_each_line_once(logs, pods, api_server):
    pods.start("a", 0, counting(30, 0.2))
    with collected(logs) as found:
        for seen in (5, 15):
            assert eventually(lambda seen=seen: len(found) >= seen)
            api_server.proxy.cut()
        assert eventually(lambda: len(found) == 30)
        time.sleep(0.5)
    assert found == [f"[node 0] line {at}: ü" for at in range(1, 31)]


def test_pods_created_by_a_restart_are_followed(logs, pods):
    pods.start("a", 0, "echo first life; exit 1")
    with collected(logs) as found:
        assert eventually(lambda: found)
        pods.kubectl("delete", "pod", "a")
        pods.start("a", 0, "echo second life")
        assert eventually(lambda: len(found) == 2)
    assert found == ["[node 0] first life", "[node 0] second life"]


def test_log_of_a_short_lived_pod_is_read_on_close(pods, cluster):
    with collected(PodLogs(cluster, every_s=30, drain_s=5)) as found:
        time.sleep(0.5)
        pods.start("a", 0, "echo 'ValueError: last words'; exit 1")
        assert eventually(lambda: cluster.read("pods/a")["status"]["phase"] == "Failed")
    assert found == ["[node 0] ValueError: last words"]


def test_missing_permission_is_reported_once_without_an_error(logs, cluster):
    cluster.client.set_default_header("Impersonate-User", "nobody")
    try:
        with collected(logs) as found:
            time.sleep(0.5)
        with pytest.raises(ClusterError, match="403 pods is forbidden"):
            worker_pods(cluster, "one")
        assert not has_pods(cluster, "one")
    finally:
        del cluster.client.default_headers["Impersonate-User"]
    assert found == ["the workers' pods cannot be listed: 403 Forbidden"]


def test_running_pulling_unschedulable_and_waiting_pods_are_told_apart(pods, cluster):
    pods.start("running", script="sleep 60")
    pods.start("absent", image="localhost:5001/shoprank/absent:1")
    pods.start("large", resources={"requests": {"memory": "10Ti"}, "limits": {"memory": "10Ti"}})
    pods.start("keyless", env=[{"name": "K", "valueFrom": {"secretKeyRef": {"name": "no-secret", "key": "k"}}}])
    pods.start("ended")
    wanted = {"running": "running", "absent": "pulling", "large": "unschedulable", "keyless": "waiting",
              "ended": "running"}  # fmt: skip

    def states():
        return {pod.name: pod.state for pod in worker_pods(cluster, "one")}

    assert eventually(lambda: states() == wanted), states()

    def told():
        return {pod.name: str(pod) for pod in worker_pods(cluster, "one")}

    # The first pull is under way for a while.
    assert eventually(lambda: "ErrImagePull: " in told()["absent"] or "BackOff" in told()["absent"]), told()
    said = told()
    assert said["running"] == "running is running" and has_pods(cluster, "one")
    assert said["absent"].startswith("absent is waiting for its image: ")
    assert said["large"].startswith("large fits on no node: 0/1 nodes are available: 1 Insufficient memory")
    missing = 'keyless is waiting: CreateContainerConfigError: secret "no-secret" not found'
    assert eventually(lambda: missing in map(str, worker_pods(cluster, "one")))


def test_job_that_may_create_no_pods_tells_why(pods, cluster):
    pods.kubectl("create", "quota", "none", "--hard=pods=0")
    pods.kubectl("create", "job", "one-node-0", f"--image={TRAIN_IMAGE}", "--", "true")
    assert eventually(lambda: "FailedCreate: " in why_no_pods(cluster, "one"))
    assert "forbidden" in why_no_pods(cluster, "one") and worker_pods(cluster, "one") == []
