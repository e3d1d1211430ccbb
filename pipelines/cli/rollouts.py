"""`shoprank rollout status` and `abort`: rollouts as the cluster has them, without a pipeline."""

import dataclasses
from typing import Annotated

import typer

from components.shared.object_names import check_object_names
from pipelines.cli.console import console
from pipelines.cli.parameters import Json, emit

rollout = typer.Typer(no_args_is_help=True, help="See and abort guarded rollouts on a cluster.")

Service = Annotated[str, typer.Option(help="InferenceService.")]
Namespace = Annotated[str, typer.Option(help="Its namespace; empty: the context's.")]
Context = Annotated[str, typer.Option("--kube-context", help="kubeconfig context.")]


_TRIES = 4
"""Attempts to reach the API server, about two seconds: a person waits for the answer."""


@rollout.command()
def status(
    service: Service = "shoprank", namespace: Namespace = "", context: Context = "", as_json: Json = False
) -> None:
    """Print champion, candidate, its share of the traffic, and who decides."""
    from components.rollout_model.control import rollout_status
    from components.shared.cluster.api import RetryPolicy, connect

    check_object_names(service=service)
    check_object_names(optional=True, namespace=namespace)
    found = rollout_status(connect(context, namespace, RetryPolicy(connects=_TRIES, statuses=_TRIES)), service)
    if as_json:
        return emit(dataclasses.asdict(found))
    champion = f"{service} serves {found.champion}"
    if found.not_serving:
        champion = f"{service} should serve {found.champion}, but does not: {found.not_serving}"
    if not found.candidate:
        console.print(f"{champion}; no rollout")
    else:
        state = "ready" if found.ready else "not ready"
        console.print(f"{champion}; candidate {found.candidate} at {found.percent} %, {state}")
        console.print(
            f"decided by {found.decided_by}" if found.decided_by else "decided by nobody: `rollout abort` ends it"
        )
    for problem in filter(None, (found.aborting and f"being aborted: {found.aborting}", found.route)):
        console.print(problem)


@rollout.command()
def abort(
    service: Service = "shoprank",
    namespace: Namespace = "",
    context: Context = "",
    reason: Annotated[str, typer.Option(help="For the record of the rollout.")] = "aborted by hand",
    seconds: Annotated[float, typer.Option(help="Timeout.")] = 120.0,
    as_json: Json = False,
) -> None:
    """Return all traffic to the champion and remove the candidate."""
    from components.rollout_model.control import abort_rollout
    from components.shared.cluster.api import RetryPolicy, connect

    check_object_names(service=service)
    check_object_names(optional=True, namespace=namespace)
    cluster = connect(context, namespace, RetryPolicy(connects=_TRIES, statuses=_TRIES))
    champion = abort_rollout(cluster, service, reason, seconds)
    if as_json:
        return emit({"champion": champion})
    console.print(f"{service} serves {champion}; the candidate is removed")
