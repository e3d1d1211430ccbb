"""What a person sees of a rollout and can do with it, from the cluster alone: no pipeline and no registry is needed."""

import time
from dataclasses import dataclass

from components.shared.cluster.api import Cluster
from components.shared.cluster.inference_service import ServiceSpec, spec_of
from components.shared.cluster.kinds import INFERENCE_SERVICE, LEASE
from components.shared.cluster.lease import ABORT_NOTE, holder, is_held
from components.shared.cluster.modes import traffic_of
from components.shared.cluster.predictor_pods import Predictor, predictor_state
from components.shared.cluster.route import Route, stable_service
from components.shared.cluster.traffic import Placement, Traffic
from components.shared.cluster.versions import lease_name
from components.shared.errors import InputError, ServingError


@dataclass(frozen=True)
class RolloutStatus:
    """A service's rollout.

    Attributes:
        champion: version that has the rest of the traffic. candidate: '' without a rollout. percent: of the candidate.
        decided_by: process that decides, '' if none does. aborting: why a person wants it to end.
        ready: whether every pod of the candidate serves it. route: what the gateway reports against the route.
        not_serving: why not every pod of the champion serves it, '' if they do or if KServe's mode hides them.
    """

    champion: str
    candidate: str
    percent: int
    decided_by: str
    aborting: str
    ready: bool
    route: str
    not_serving: str


def rollout_status(cluster: Cluster, service: str) -> RolloutStatus:
    """Look at a service.

    Raises:
        MissingObject: there is no such service.
        InputError: shoprank did not make it.
        ClusterError: the API rejected a request or is unavailable.
    """
    spec, traffic = _traffic(cluster, service, 1.0)
    lease = cluster.find(LEASE, lease_name(service)) or {"metadata": {}}
    route = Route(cluster, service)
    candidate = traffic.candidate()
    return RolloutStatus(
        traffic.champion(), candidate, traffic.percent(), holder(lease) if is_held(lease) else "",
        (lease["metadata"].get("annotations") or {}).get(ABORT_NOTE, ""), bool(candidate) and traffic.ready(),
        route.problem() if spec.mode == "Standard" and route.exists() else "",
        _not_serving(cluster, spec, traffic.champion()) if spec.mode == "Standard" else "",
    )  # fmt: skip


def _not_serving(cluster: Cluster, spec: ServiceSpec, version: str) -> str:
    wanted = Predictor(
        service=spec.name, deployment=stable_service(spec.name), uri=spec.uri(version), version=version
    )  # fmt: skip
    return predictor_state(cluster, wanted).why


def abort_rollout(cluster: Cluster, service: str, reason: str, seconds: float = 120.0) -> str:
    """End a rollout: all traffic returns to the champion and the candidate is removed.

    The process that decides is asked; without one the traffic is moved from here.

    Returns:
        The champion.

    Raises:
        InputError: there is no rollout.
        ServingError: the deciding process did not end it in time.
        ClusterError: the API rejected a request or is unavailable.
    """
    _, traffic = _traffic(cluster, service, seconds)
    if not traffic.candidate():
        raise InputError(f"InferenceService {service} has no rollout", "see `shoprank rollout status`")
    deadline = time.monotonic() + seconds
    while traffic.candidate():
        lease = cluster.get(LEASE, lease_name(service))
        if not is_held(lease):
            traffic.abort()
            break
        if ABORT_NOTE not in (lease["metadata"].get("annotations") or {}):
            cluster.update(LEASE, lease_name(service), lambda _: {"metadata": {"annotations": {ABORT_NOTE: reason}}})
        if time.monotonic() > deadline:
            raise ServingError(
                f"{holder(lease)} has not ended the rollout of {service} within {seconds:.0f} s",
                "end that process and abort again: its Lease runs out within a minute",
            )
        time.sleep(0.5)
    return traffic.champion()


def _traffic(cluster: Cluster, service: str, ready_s: float) -> tuple[ServiceSpec, Traffic]:
    spec = spec_of(cluster.get(INFERENCE_SERVICE, service))
    if not spec.model:
        raise InputError(
            f"InferenceService {service} of namespace {cluster.namespace} was not made by shoprank",
            "name the one that `deploy_model` made, with --service and --namespace",
        )
    return spec, traffic_of(cluster, Placement(service=spec, ready_s=ready_s))
