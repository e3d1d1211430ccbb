"""Pod logs, read by the real client from a loopback server that responds as the API does for pods."""

import contextlib
import http.server
import json
import threading
import time
import urllib.parse

import pytest
from kubernetes.client import ApiClient, Configuration

from components.shared.cluster.api import Cluster, RetryPolicy
from components.shared.cluster.pods import CONTAINER, JOB_LABEL, NODE_LABEL, PodLogs

STAMP = "2026-11-24T10:00:{:02d}.000000000Z"


def pod(name: str, node: int, restarts: int = 0, waiting: dict | None = None) -> dict:
    state = {"waiting": waiting} if waiting else {"running": {}}
    status = {"name": CONTAINER, "restartCount": restarts, "state": state, "image": "", "imageID": "", "ready": False}
    labels = {JOB_LABEL: "one", NODE_LABEL: str(node)}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": labels},
        "status": {"phase": "Pending" if waiting else "Running", "containerStatuses": [status]},
    }


class Pods:
    """Pods and their logs; a log in `cut_after` loses its connection within a line."""

    def __init__(self):
        self.pods: list[dict] = []
        self.lines: dict[str, list[str]] = {}
        self.open: set[str] = set()
        self.cut_after: dict[str, int] = {}
        self.queries: list[dict] = []
        self.denied = False

    def respond(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        url = urllib.parse.urlparse(handler.path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        if self.denied:
            handler.send_error(403, "Forbidden")
        elif url.path.endswith("/pods"):
            assert query["labelSelector"] == f"{JOB_LABEL}=one"
            content = json.dumps({"items": self.pods}).encode()
            handler.send_response(200)
            handler.send_header("content-type", "application/json")
            handler.send_header("content-length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)
        else:
            self._log(handler, url.path.split("/")[-2], query)

    def _log(self, handler: http.server.BaseHTTPRequestHandler, name: str, query: dict) -> None:
        self.queries.append(query)
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        sent = 0
        while True:
            for line in self.lines[name][sent:]:
                if self.cut_after.get(name) == sent:
                    del self.cut_after[name]
                    handler.wfile.write(b"10\r\nhalf a")
                    handler.close_connection = True
                    return
                content = f"{line}\n".encode()
                handler.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
                sent += 1
            if name not in self.open:
                break
            time.sleep(0.01)
        handler.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def pods():
    return Pods()


@pytest.fixture
def logs(pods):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            pods.respond(self)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    configuration = Configuration(host=f"http://127.0.0.1:{server.server_port}")
    yield PodLogs(Cluster(ApiClient(configuration), "shop", RetryPolicy(connects=2)), every_s=0.05, drain_s=5)
    server.shutdown()
    server.server_close()
    thread.join()


@contextlib.contextmanager
def collected(logs: PodLogs):
    found: list[str] = []
    with logs.opened("one", found.append):
        yield found


def wait_for(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_lines_of_all_nodes_are_streamed_as_they_are_written(logs, pods):
    pods.lines = {"a": [f"{STAMP.format(1)} from a"], "b": [f"{STAMP.format(1)} from b: ü"]}
    pods.pods, pods.open = [pod("a", 0), pod("b", 1)], {"a", "b"}
    with collected(logs) as found:
        wait_for(lambda: len(found) == 2)
        assert sorted(found) == ["[node 0] from a", "[node 1] from b: ü"]
        pods.lines["a"].append(f"{STAMP.format(2)} progress train_ranker 0.500 half")
        wait_for(lambda: len(found) == 3)
        pods.lines["b"].append(f"{STAMP.format(3)} the end")
        pods.open.clear()
    assert found[2:] == ["[node 0] progress train_ranker 0.500 half", "[node 1] the end"]


def test_interrupted_log_resumes_with_each_line_once(logs, pods):
    pods.lines = {"a": [f"{STAMP.format(at)} line {at}" for at in range(6)]}
    pods.pods, pods.cut_after = [pod("a", 0)], {"a": 3}
    with collected(logs) as found:
        wait_for(lambda: len(found) == 6)
    assert found == [f"[node 0] line {at}" for at in range(6)]
    assert "sinceSeconds" not in pods.queries[0] and int(pods.queries[1]["sinceSeconds"]) > 0
    assert {query["container"] for query in pods.queries} == {CONTAINER}


def test_pods_created_by_a_restart_are_followed(logs, pods):
    pods.lines = {"a": [f"{STAMP.format(1)} first life"], "a2": [f"{STAMP.format(2)} second life"]}
    pods.pods = [pod("a", 0)]
    with collected(logs) as found:
        wait_for(lambda: found)
        pods.pods = [pod("a2", 0)]
        wait_for(lambda: len(found) == 2)
    assert found == ["[node 0] first life", "[node 0] second life"]


def test_log_of_a_short_lived_pod_is_read_on_close(logs, pods):
    with collected(logs) as found:
        time.sleep(0.2)
        pods.lines = {"a": [f"{STAMP.format(1)} ValueError: last words"]}
        pods.pods = [pod("a", 0)]
    assert found == ["[node 0] ValueError: last words"]


def test_missing_permission_is_reported_once_without_an_error(logs, pods):
    pods.denied = True
    with collected(logs) as found:
        time.sleep(0.3)
    assert found == ["the workers' pods cannot be listed: 403 Forbidden"]
    assert logs.why_waiting("one") == "pods cannot be listed (403 Forbidden)"


def test_why_waiting_lists_the_reasons_of_pending_pods(logs, pods):
    pods.pods = [pod("a", 0, waiting={"reason": "ImagePullBackOff", "message": "no such image"}), pod("b", 1)]
    unscheduled = pod("c", 2)
    unscheduled["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}],
    }
    pods.pods.append(unscheduled)
    assert logs.why_waiting("one") == "a: ImagePullBackOff: no such image; c: 0/3 nodes are available"
