"""The stage: check the release gates, run the rollout, store its record with the version."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.rollout_model.config import RolloutOptions, RolloutPlan
from components.rollout_model.evidence import Evidence, LogEvidence, PrometheusEvidence, Versions
from components.rollout_model.job import RolloutTask, run_in_job
from components.rollout_model.page import record_page, write_record
from components.rollout_model.record import RolloutRecord, read_record
from components.rollout_model.responses import Responses
from components.rollout_model.rollout import Rollout
from components.shared.cluster.api import Cluster, connect
from components.shared.cluster.inference_service import ServiceSpec
from components.shared.cluster.lease import RolloutLease
from components.shared.cluster.modes import traffic_of
from components.shared.cluster.traffic import Placement
from components.shared.errors import RegistryError
from components.shared.evaluation.decision import read_decision
from components.shared.release.config import ReleaseOptions
from components.shared.release.proof import check_release_gates, read_proof
from components.shared.release.registry import Registry, Root


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """Configuration of the stage."""

    registry: Root
    """Folder or URI of the registry."""
    name: str
    """Model name."""
    version: str
    """Version of the candidate."""
    placement: Placement
    """The service and its traffic."""
    evidence: str
    """Address of a Prometheus server, or folder of the inference log."""
    events: str = ""
    """Folder of the shop's events with request_id, for the guards on clicks and purchases; '' disables both."""
    plan: RolloutPlan
    """Steps and limits."""
    namespace: str = ""
    """Namespace of the service; '' means the pod's own or the kubeconfig's."""
    context: str = ""
    """Context of the kubeconfig."""
    decide_in: str = "job"
    """See RolloutOptions."""
    task: RolloutTask
    """The same as the parameters of the stage."""


def rollout_of(
    registry: Root, version: tuple[str, str], release: Mapping[str, Any], rollout: Mapping[str, Any]
) -> RolloutConfig:
    """Build the configuration from the stage's parameters.

    Args:
        registry: Folder or URI of the registry.
        version: Model name and version.
        release: Options of section `release`.
        rollout: Options of section `rollout`.

    Raises:
        InputError: names the path of an invalid option.
    """
    where, how = ReleaseOptions.read(release, "release"), RolloutOptions.read(rollout, "rollout")
    how.check("guarded", where.mode)
    spec = ServiceSpec.of(where, version[0], str(registry))
    return RolloutConfig(
        registry=registry, name=version[0], version=version[1], evidence=how.evidence, events=how.events,
        placement=Placement(service=spec, gateway=how.gateway, ready_s=how.ready_s), plan=how.plan(where.service),
        namespace=where.namespace, decide_in=how.decide_in,
        task=RolloutTask(str(registry), *version, dict(release), dict(rollout)),
    )  # fmt: skip


def roll_out(
    config: RolloutConfig, gates: tuple[Path, Path], out: Path, html: Path, cluster: Cluster | None = None
) -> RolloutRecord:
    """Roll out a version that passed the release gates; the record is written to `out` and the registry.

    Args:
        config: Configuration of the stage.
        gates: Outputs of validate_serving and evaluate_model.
        out: Folder of record.json and record.html.
        html: Path of another copy of the page.
        cluster: A connected cluster; None connects as configured.

    Raises:
        RegistryError: it failed the release gates, has no serving proof, is not registered, or is already the champion.
        MissingObject: the service does not exist; deploy a first version.
        InputError: mode, model or evidence is invalid.
        ClusterError: the Kubernetes API rejected a request or is unavailable; run it again to resume.
    """
    registry = Registry(config.registry)
    bundle = registry.resolve(f"{config.name}/{config.version}")
    proof, evaluation = gates
    check_release_gates(bundle, (config.name, config.version), read_decision(evaluation), read_proof(proof))
    here = cluster or connect(config.context)
    if here.inside and config.decide_in == "job":
        run_in_job(here, config.task)
        record = read_record(registry.rollouts(config.name, config.version)[-1])
        write_record(record, out)
    else:
        record = decide(config, out, cluster)
    record_page(record).write(html)
    return record


def decide(
    config: RolloutConfig, out: Path, cluster: Cluster | None = None, ends_with_process: bool = True
) -> RolloutRecord:
    """Make the decisions of a rollout in this process; the record is written to `out` and the registry.

    Args:
        config: Configuration of the stage.
        out: Folder of record.json and record.html.
        cluster: Namespace of the service; None connects as configured.
        ends_with_process: See Rollout.

    Raises:
        RegistryError: it is not registered, or is already the champion.
        MissingObject, InputError, ClusterError: see roll_out.
    """
    registry, spec = Registry(config.registry), config.placement.service
    service = cluster or connect(config.context, config.namespace)
    traffic = traffic_of(service, config.placement)
    champion = traffic.champion()
    if champion == config.version:
        state = registry.rollout_state(config.name)
        if state.get("candidate") != config.version:
            raise RegistryError(f"{config.name}/{config.version} is already the champion", "nothing to roll out")
        # Promoted by a process that was killed before it wrote the books.
        champion = state["champion"]
    evidence = evidence_at(config.evidence, Versions(champion, config.version), config.events, service.namespace)
    lease = RolloutLease(service, spec, lease_duration(config.plan))
    record = Rollout(
        registry, config.name, config.version, config.plan, traffic, evidence, lease, ends_with_process
    ).run()
    write_record(record, out)
    named = time.strftime("%Y%m%dt%H%M%S", time.gmtime(record.began))
    registry.attach(record.model, record.candidate, out, named)
    return record


def lease_duration(plan: RolloutPlan) -> float:
    """Seconds after which a deciding process that is gone is replaced."""
    return max(10.0, 2 * plan.poll_s)


def evidence_at(source: str, versions: Versions, events: str = "", namespace: str = "") -> Evidence:
    """Return the source of evidence for an address or a folder.

    Args:
        source: Address of Prometheus, or folder of the inference log.
        versions: Versions to compare.
        events: See RolloutOptions.
        namespace: Of the service; '' counts predictors of all namespaces that Prometheus scrapes.

    Raises:
        InputError: see RolloutOptions.check_evidence.
    """
    RolloutOptions(evidence=source, events=events).check_evidence()
    if source.startswith(("http://", "https://")):
        # The same version may serve in other namespaces, such as one for trials; `|` also matches series without the
        # label, of a Prometheus that writes none.
        return PrometheusEvidence(source, versions, f'namespace=~"{namespace}|"' if namespace else "")
    return LogEvidence(Path(source), versions, Responses(Path(events)) if events else None)
