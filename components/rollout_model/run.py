"""The stage: papers checked, the service found, the rollout run, its record kept with the version."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from components.rollout_model.evidence import Evidence, LogEvidence, PrometheusEvidence, Versions
from components.rollout_model.guards import GuardConfig
from components.rollout_model.page import record_page, write_record
from components.rollout_model.record import RolloutRecord
from components.rollout_model.responses import Responses
from components.rollout_model.rollout import Rollout, RolloutPlan
from components.shared.cluster.api import Cluster, connect
from components.shared.cluster.inference_service import Mode, ServiceSpec
from components.shared.cluster.traffic import Placement, traffic_of
from components.shared.errors import InputError, RegistryError
from components.shared.evaluation.decision import read_decision
from components.shared.release.proof import check_papers, read_proof
from components.shared.release.registry import Registry


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """What the stage's parameters say."""

    registry: Path
    """Folder of the registry."""
    name: str
    """Model name."""
    version: str
    """The candidate."""
    placement: Placement
    """The service and its traffic."""
    evidence: str
    """Address of a Prometheus server, or folder of the inference log."""
    events: str = ""
    """Folder of the shop's events with request_id, for the guards on clicks and purchases; '' judges neither."""
    plan: RolloutPlan
    """Steps and limits."""
    namespace: str = ""
    """Of the service; '' is the pod's own, or the kubeconfig's."""
    context: str = ""
    """Context of the kubeconfig."""


def placement(
    model: str, service: str, storage: str, mode: str, gateway: str, ready_s: float, confidential: str = ""
) -> Placement:
    """The service that the parameters name.

    Raises:
        InputError: mode or storage cannot be.
    """
    spec = ServiceSpec(name=service, model=model, storage=storage, mode=cast(Mode, mode), confidential=confidential)
    return Placement(service=spec, gateway=gateway, ready_s=ready_s)


def parse_plan(steps: str, guards: str, poll_s: float, service: str) -> RolloutPlan:
    """Steps and limits from pipeline parameters.

    Args:
        steps: Percentages with commas.
        guards: JSON object of GuardConfig's fields that differ from their defaults; '' is none.
        poll_s: Seconds between looks.
        service: Name of the model in the predictor's URLs.

    Raises:
        InputError: names the parameter that cannot be read.
    """
    try:
        percentages = tuple(int(part) for part in steps.split(","))
    except ValueError as error:
        raise InputError(
            f"parameter 'steps' is '{steps}'", "give percentages with commas, such as 5,25,50,100"
        ) from error
    try:
        limits = json.loads(guards or "{}")
    except json.JSONDecodeError as error:
        raise InputError(f"parameter 'guards' is not JSON: {error}", 'give an object such as {"min_sample": 5000}'
                         ) from error  # fmt: skip
    if not isinstance(limits, dict):
        raise InputError("parameter 'guards' is not an object", 'give one such as {"min_sample": 5000}')
    return RolloutPlan(steps=percentages, guards=GuardConfig.from_json(limits), poll_s=poll_s, model=service)


def roll_out(
    config: RolloutConfig, papers: tuple[Path, Path], out: Path, html: Path, cluster: Cluster | None = None
) -> RolloutRecord:
    """Bring a blessed and proven version to all traffic, or back to none; the record lies in `out` and the registry.

    Args:
        config: What, where and how.
        papers: Outputs of validate_serving and evaluate_model.
        out: Folder of record.json and record.html.
        html: The same page as a file of its own.
        cluster: Connected; None connects as the config says.

    Raises:
        RegistryError: it is not blessed, not proven, not in the registry, or already the champion.
        MissingObject: there is no such service; deploy a first version.
        InputError: mode, model or evidence cannot be.
        ClusterError: the Kubernetes API refused or is away; run it again to go on.
    """
    registry = Registry(config.registry)
    bundle = registry.resolve(f"{config.name}/{config.version}")
    proof, evaluation = papers
    check_papers(bundle, (config.name, config.version), read_decision(evaluation), read_proof(proof))
    traffic = traffic_of(cluster or connect(config.context, config.namespace), config.placement)
    champion = traffic.champion()
    if champion == config.version:
        raise RegistryError(f"{config.name}/{config.version} is the champion already", "there is nothing to roll out")
    evidence = evidence_at(config.evidence, Versions(champion, config.version), config.events)
    record = Rollout(registry, config.name, config.version, config.plan, traffic, evidence).run()
    write_record(record, out)
    record_page(record).write(html)
    named = time.strftime("%Y%m%dt%H%M%S", time.gmtime(record.began))
    registry.attach(record.model, record.candidate, out, named)
    return record


def check_evidence(place: str, events: str = "") -> None:
    """Refuse places that are no source of evidence; asks none of them.

    Raises:
        InputError: it is neither an address nor a folder, or events come without the log that names their answers.
    """
    if not place:
        raise InputError(
            "parameter 'evidence' is empty", "name a Prometheus server (http://...) or an inference log's folder"
        )
    if events and place.startswith(("http://", "https://")):
        raise InputError("parameter 'events' is given without an inference log", "let 'evidence' name the log's folder")


def evidence_at(place: str, versions: Versions, events: str = "") -> Evidence:
    """The source behind the parameters.

    Raises:
        InputError: see `check_evidence`.
    """
    check_evidence(place, events)
    if place.startswith(("http://", "https://")):
        return PrometheusEvidence(place, versions)
    return LogEvidence(Path(place), versions, Responses(Path(events)) if events else None)
