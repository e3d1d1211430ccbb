"""Simulates KServe on the API server for tests: real predictors for an InferenceService, routes to them, status.

Three addresses on loopback stand for the Services: `front` (split by weight), `champion` and `candidate`.
"""

import contextlib
import http.server
import random
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
from kubernetes.client import ApiException, CustomObjectsApi

from components.shared.cluster.api import Cluster
from components.shared.cluster.kinds import INFERENCE_SERVICE
from components.validate_serving.predictor import Predictor, PredictorConfig, running
from serving.shadow import HEADER

FORWARDED = ("content-type", "x-request-id", HEADER)


class Service:
    """An address that forwards each request to the URL that `route` returns then; 503 if that is empty."""

    def __init__(self, route: Callable[[], str]):
        client = httpx.Client(trust_env=False, timeout=30.0)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # otherwise the body waits 40 ms for the acknowledgement of the headers

            def forward(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                url = route()
                headers = {key: self.headers[key] for key in FORWARDED if key in self.headers}
                try:
                    if not url:
                        raise httpx.ConnectError("no pod")
                    response = client.request(self.command, url + self.path, content=body, headers=headers)
                    status, content = response.status_code, response.content
                except httpx.TransportError:
                    status, content = 503, b'{"error": "no pod"}'
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = forward

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._client = client
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._client.close()


class Controller:
    """Reconciles the InferenceServices of one namespace until its context ends.

    Args:
        cluster: The namespace.
        bundle_of: Folder of the bundle behind a storageUri.
        config: How predictors are started.

    Attributes:
        never_ready: versions, or `stable:VERSION`. fails_to_load, crashes: versions.
    """

    def __init__(self, cluster: Cluster, bundle_of: Callable[[str], Path], config: PredictorConfig | None = None):
        self.cluster, self._bundle_of = cluster, bundle_of
        self.config = config or PredictorConfig(clock="system")
        self._rolled_out = ""
        self.never_ready: set[str] = set()
        self.fails_to_load: set[str] = set()
        self.crashes: set[str] = set()
        self._pods: dict[str, tuple[contextlib.ExitStack, Predictor]] = {}
        self._roles: dict[str, str] = {}
        self.percent = 0
        self._random = random.Random(0)
        self.front = Service(self._split)
        self.champion = Service(lambda: self.pod_url("stable"))
        self.candidate = Service(lambda: self.pod_url("candidate"))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.errors: list[BaseException] = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        for stack, _ in self._pods.values():
            stack.close()
        for service in (self.front, self.champion, self.candidate):
            service.close()
        assert self.errors == []

    def pod_url(self, role: str) -> str:
        """Address of the predictor in a role, '' when none is up."""
        pod = self._pods.get(self._roles.get(role, ""))
        return pod[1].url if pod and pod[1].process.poll() is None else ""

    def pod(self, role: str) -> Predictor:
        return self._pods[self._roles[role]][1]

    def _split(self) -> str:
        to_candidate = self._random.random() * 100 < self.percent
        return self.pod_url("candidate" if to_candidate else "stable")

    def _run(self):
        while not self._over.wait(0.1):
            try:
                services = self.cluster.list(INFERENCE_SERVICE)
                for service in services:
                    self._reconcile(service)
                if not services:
                    self._keep(set())
            except Exception as error:
                self.errors.append(error)
                return

    def _reconcile(self, service):
        canaries, wanted, percent = self._wanted(service)
        failed = {role for role, uri in wanted.items() if Path(uri).name in self.fails_to_load}
        ready = {role: self._serve(role, uri) for role, uri in wanted.items() if role not in failed}
        if "candidate" not in wanted:
            self._roles.pop("candidate", None)
        self.percent = percent
        if "candidate" not in wanted and ready.get("stable"):
            self._rolled_out = wanted["stable"]
        self._keep(set(self._roles.values()))
        self._write(service, ready, failed, canaries)
        for role, uri in wanted.items():
            if Path(uri).name in self.crashes and ready.get(role):
                self.pod(role).process.kill()

    def _wanted(self, service):
        """(canaries of Standard mode, storageUri by role, percentage of the candidate)."""
        predictor, canaries = service["spec"]["predictor"], service["spec"].get("canary") or []
        uri = predictor["model"]["storageUri"]
        if service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Knative":
            percent = predictor.get("canaryTrafficPercent")
            if percent is None or not self._rolled_out or uri == self._rolled_out:
                return [], {"stable": uri}, 0
            return [], {"stable": self._rolled_out, "candidate": uri}, percent
        if not canaries:
            return [], {"stable": uri}, 0
        candidate = canaries[0]["predictor"]["model"]["storageUri"]
        return canaries, {"stable": uri, "candidate": candidate}, canaries[0]["trafficPercent"]

    def _serve(self, role: str, uri: str) -> bool:
        """Start the predictor of a bundle in a role; the previous one serves until then."""
        if {Path(uri).name, f"{role}:{Path(uri).name}"} & self.never_ready:
            return False
        if uri not in self._pods:
            stack = contextlib.ExitStack()
            self._pods[uri] = stack, stack.enter_context(running(self._bundle_of(uri), self.config))
        self._roles[role] = uri
        return self._pods[uri][1].process.poll() is None

    def _keep(self, uris: set[str]):
        for uri in set(self._pods) - uris:
            self._pods.pop(uri)[0].close()

    def _write(self, service, ready, failed, canaries):
        def condition(kind, holds):
            return {"type": kind, "status": "True" if holds else "False", "reason": "" if holds else "MinimumReplicas",
                    "message": "" if holds else "predictor is not available"}  # fmt: skip

        # In Knative mode the newest revision must be ready too.
        stable = bool(ready.get("stable")) and (bool(canaries) or (all(ready.values()) and not failed))
        tags = [{"tag": "prev", "url": self.champion.url}, {"tag": "latest", "url": self.candidate.url}]
        blocked = {"transitionStatus": "BlockedByFailedLoad",
                   "lastFailureInfo": {"reason": "ModelLoadFailed", "message": "bundle is not signed"}}  # fmt: skip
        status = {
            "observedGeneration": service["metadata"]["generation"],
            "components": {"predictor": {"traffic": tags}},
            "address": {"url": self.champion.url}, "url": self.front.url,
            "conditions": [condition("Ready", stable)]
            + ([condition("CanaryReady", bool(ready.get("candidate")))] if canaries else []),
            "modelStatus": blocked if "stable" in failed else {"transitionStatus": "UpToDate"},
            "canaryStatuses": [
                {"name": one["predictor"]["name"], "trafficPercent": one["trafficPercent"],
                 "ready": bool(ready.get("candidate"))}
                | ({"modelStatus": blocked} if "candidate" in failed else {}) for one in canaries
            ],
        }  # fmt: skip
        if {key: service.get("status", {}).get(key) for key in status} == status:
            return
        with contextlib.suppress(ApiException):
            CustomObjectsApi(self.cluster.client).patch_namespaced_custom_object_status(
                INFERENCE_SERVICE.group, INFERENCE_SERVICE.version, self.cluster.namespace, INFERENCE_SERVICE.plural,
                service["metadata"]["name"], {"status": status},
            )  # fmt: skip
