"""Looks for everything that a run needs, in order; within a time limit for a command that must not wait."""

import contextlib
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components.shared.cluster.access import AccessProblem
from components.shared.errors import ClusterError, ShoprankError
from pipelines.doctor import keys, serving, steps
from pipelines.doctor.needs import Finding, Need, Plan
from pipelines.doctor.reading import Reader
from pipelines.installing import PROFILE_ACCOUNT, STEPS_ACCOUNT

DEADLINE_S = 15.0
"""Seconds that `shoprank submit` gives the diagnosis."""


def diagnose(plan: Plan, context: str = "") -> list[Finding]:
    """Look for everything that the plan needs.

    Raises:
        InputError: there is no usable kubeconfig.
        ClusterError: the cluster is not reachable.
    """
    with contextlib.closing(Reader(context)) as reader:
        needs = [*steps.needs(reader, plan), *(keys.needs(reader, plan) if plan.signs else ())]
        needs += serving.needs(reader, plan) if plan.serving_namespace else ()
        return _findings(needs)


def _findings(needs: Iterable[Need]) -> list[Finding]:
    """Read and judge in order; what no request can tell is not asked for."""
    found: list[Finding] = []
    everywhere: AccessProblem | None = None
    for need in needs:
        absent = next((one for one in need.depends if _is_absent(one, found)), "")
        if everywhere:
            found.append(need.unknown(everywhere.cause, everywhere.fix))
        elif absent:
            found.append(need.unknown(f"namespace {absent} does not exist", f"kubectl create namespace {absent}"))
        else:
            finding, problem = need.finding()
            found.append(finding)
            everywhere = problem if problem and problem.affects_all else None
    return found


def _is_absent(namespace: str, found: Iterable[Finding]) -> bool:
    return any((one.need, one.namespace, one.state) == ("namespace", namespace, "missing") for one in found)


def quick_diagnosis(plan: Plan, context: str = "") -> tuple[list[Finding], str]:
    """Diagnose within a few seconds.

    Returns:
        The findings, and why there are none, '' if there are.
    """
    answers: list[list[Finding] | ShoprankError] = []

    def look() -> None:
        try:
            answers.append(diagnose(plan, context))
        except ShoprankError as error:
            answers.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    answer = answers[0] if answers else ClusterError(f"no answer within {DEADLINE_S:.0f} s", "check the kubeconfig")
    return ([], answer.headline) if isinstance(answer, ShoprankError) else (answer, "")


def has_kubeconfig() -> bool:
    """Whether kubectl would find a kubeconfig."""
    given = os.environ.get("KUBECONFIG", "")
    return any(Path(one).is_file() for one in given.split(os.pathsep) if one) or (
        not given and (Path.home() / ".kube" / "config").is_file()
    )


def plan_of(pipeline: str, arguments: Mapping[str, Any], namespace: str, service_account: str) -> Plan:
    """What a run with these pipeline arguments uses.

    Args:
        pipeline: Name of the pipeline.
        arguments: Arguments of a pipeline; sections are dicts of the options that were given.
        namespace: Namespace of the steps; empty: that of KFP's own manifests.
        service_account: Service account of the steps; empty: KFP's, by the namespace.
    """
    release, training, rollout = (dict(arguments.get(section) or {}) for section in ("release", "training", "rollout"))
    place = namespace or Plan.kfp_namespace
    guarded = arguments.get("strategy") == "guarded"
    deploys = guarded or release.get("backend") == "kserve"
    account = service_account or (STEPS_ACCOUNT if place == Plan.kfp_namespace else PROFILE_ACCOUNT)
    return Plan(
        namespace=place, serving_namespace=(release.get("namespace") or place) if deploys else "",
        service_account=account, signs=pipeline != "tuning", train_jobs=training.get("launch") == "trainjob",
        guarded=guarded, gateway=str(rollout.get("gateway") or "") if guarded else "",
        object_store=str(release.get("storage", "")).startswith(("s3://", "minio://")),
    )  # fmt: skip
