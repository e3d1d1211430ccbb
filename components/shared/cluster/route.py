"""The HTTPRoute that splits a service's traffic at a Gateway; whoever moves traffic sets it first."""

import contextlib
import time
from dataclasses import dataclass

from components.shared.cluster.api import Cluster, Manifest
from components.shared.cluster.gateway import check_served
from components.shared.cluster.kinds import HTTP_ROUTE, INFERENCE_SERVICE
from components.shared.cluster.versions import owner
from components.shared.errors import ServingError

_ALONE = 15
"""Answers of one version in a row; with 30 % of the requests another one would be among them 199 times of 200."""

CANDIDATE = "candidate"
"""Name of the candidate's predictor in Standard mode."""


def stable_service(name: str) -> str:
    """Name of KServe's Deployment and Service of the stable predictor."""
    return f"{name}-predictor"


def candidate_service(name: str) -> str:
    """Name of KServe's Deployment and Service of the candidate."""
    return f"{name}-{CANDIDATE}-predictor"


@dataclass(frozen=True)
class Route:
    """The route of an InferenceService.

    Attributes:
        cluster: namespace of the service. service: name of the InferenceService.
        gateway: name of the Gateway in the same namespace; '' changes an existing route only.
        accepted_s: timeout for the gateway to accept a change, in seconds.
    """

    cluster: Cluster
    service: str
    gateway: str = ""
    accepted_s: float = 30.0

    @property
    def name(self) -> str:
        """Name of the HTTPRoute; KServe uses the service's own name for its own."""
        return f"{self.service}-traffic"

    def set(self, percent: int) -> None:
        """Give the candidate a percentage of the requests, and wait until the gateway has accepted it.

        Raises:
            ServingError: the gateway did not accept it in time; the message has its words, such as a missing Service.
            ClusterError: the API rejected a request or is unavailable.
        """
        present = self.cluster.find(HTTP_ROUTE, self.name)
        if present is None and not self.gateway:
            return
        spec = self._spec(percent, present)
        if present is None:
            written = self._create(spec)
        elif present["spec"].get("rules", [{}])[0].get("backendRefs", []) == spec["rules"][0]["backendRefs"]:
            # Whatever a gateway has against it, it cannot keep requests from where they go already.
            return
        else:
            written = self.cluster.update(HTTP_ROUTE, self.name, lambda _: {"spec": spec})
        self._wait(written["metadata"]["generation"])

    def _spec(self, percent: int, present: Manifest | None) -> Manifest:
        weights = {stable_service(self.service): 100 - percent}
        if percent:
            weights[candidate_service(self.service)] = percent
        backends = [{"group": "", "kind": "Service", "name": name, "port": 80, "weight": weight}
                    for name, weight in weights.items()]  # fmt: skip
        parents = [{"group": HTTP_ROUTE.group, "kind": "Gateway", "name": self.gateway}]
        return {
            "parentRefs": present["spec"]["parentRefs"] if present and not self.gateway else parents,
            "rules": [{"backendRefs": backends}],
        }

    def _create(self, spec: Manifest) -> Manifest:
        service = self.cluster.get(INFERENCE_SERVICE, self.service)
        return self.cluster.create(HTTP_ROUTE, {
            "apiVersion": HTTP_ROUTE.api_version, "kind": HTTP_ROUTE.kind,
            "metadata": {"name": self.name, "labels": {"app.kubernetes.io/part-of": "shoprank"},
                         "ownerReferences": [owner(service)]},
            "spec": spec,
        })  # fmt: skip

    def _wait(self, generation: int) -> None:
        deadline = time.monotonic() + self.accepted_s
        while (why := self.problem(generation)) and time.monotonic() < deadline:
            time.sleep(0.2)
        if why:
            raise ServingError(
                f"HTTPRoute {self.name}: {why}",
                "check that the Gateway exists in this namespace and its controller runs, and that the Services exist",
            )

    def check(self, *versions: str) -> None:
        """Ask the gateway until one of these versions answers; nothing where no route is, or it is out of reach.

        Raises:
            ServingError: the gateway's answers are errors, or come from another version.
        """
        if found := self.cluster.find(HTTP_ROUTE, self.name):
            check_served(self.cluster, found, self.service, versions, self.accepted_s)

    def settle(self, version: str) -> None:
        """Wait until a version alone answers through the gateway, as far as can be seen; `check` says whether it does.

        The gateway's controller accepts a change before its proxies have it; until then other versions get requests.
        """
        found = self.cluster.find(HTTP_ROUTE, self.name)
        with contextlib.suppress(ServingError):
            if found:
                check_served(self.cluster, found, self.service, (version,), self.accepted_s, _ALONE)

    def exists(self) -> bool:
        """Whether there is a route."""
        return self.cluster.find(HTTP_ROUTE, self.name) is not None

    def problem(self, generation: int = 0) -> str:
        """What a gateway reports against the route, '' if it serves it.

        Args:
            generation: Of the route that must have been looked at.
        """
        found = self.cluster.get(HTTP_ROUTE, self.name)
        parents = found.get("status", {}).get("parents", [])
        if not parents:
            return f"no gateway has taken it up; it names {found['spec']['parentRefs'][0]['name']}"
        for condition in parents[0].get("conditions", []):
            if condition["observedGeneration"] < generation:
                return "the gateway has not looked at the last change yet"
            if condition["type"] in ("Accepted", "ResolvedRefs") and condition["status"] != "True":
                return f"{condition['reason']}: {condition['message']}"
        return ""
