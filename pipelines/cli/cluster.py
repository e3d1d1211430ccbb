"""`shoprank install` and `doctor`: what a run needs in a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.shared.object_names import check_object_names
from pipelines.cli.console import console, errors
from pipelines.cli.findings import fix_text, missing_first, show_findings, where
from pipelines.cli.parameters import Json, emit

if TYPE_CHECKING:
    from pipelines.doctor.needs import Plan

StepsNamespace = Annotated[str, typer.Option("--namespace", help="Where the pipeline's steps run and train.")]
ServingNamespace = Annotated[
    str, typer.Option("--serving-namespace", help="Where the steps deploy. Default: --namespace.")
]
KubeContext = Annotated[
    str, typer.Option("--kube-context", help="Context of the kubeconfig. Default: the current one.")
]
StepsAccount = Annotated[
    str, typer.Option("--service-account", help="Service account of the steps; in a profile default-editor.")
]


def install(
    namespace: StepsNamespace,
    serving_namespace: ServingNamespace = "",
    service_account: StepsAccount = "pipeline-runner",
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="PEM file: predictors accept the bundles of this key.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Apply it with kubectl instead of printing it.")] = False,
    kube_context: KubeContext = "",
) -> None:
    """Print or apply what a run needs in its namespaces: rights, runtime, network policies, registry volume."""
    from pipelines.installing import Installation, render
    from pipelines.installing import apply as send

    installation = Installation(
        namespace=namespace, serving_namespace=serving_namespace or namespace, service_account=service_account,
        public_key=public_key,
    )  # fmt: skip
    if not apply:
        return print(render(installation), end="")
    console.print(send(installation, kube_context).strip(), markup=False)


def doctor(
    namespace: StepsNamespace,
    serving_namespace: ServingNamespace = "",
    deploys: Annotated[bool, typer.Option("--deploy/--no-deploy", help="Whether runs deploy a model.")] = True,
    train_jobs: Annotated[bool, typer.Option("--train-jobs", help="Training runs as a TrainJob.")] = False,
    gateway: Annotated[str, typer.Option("--gateway", help="Gateway of guarded rollouts (rollout.gateway).")] = "",
    object_store: Annotated[
        bool, typer.Option("--object-store", help="Predictors load bundles from an object store.")
    ] = False,
    service_account: StepsAccount = "pipeline-runner",
    kfp_namespace: Annotated[str, typer.Option("--kfp-namespace", help="Where Kubeflow Pipelines runs.")] = "kubeflow",
    kube_context: KubeContext = "",
    as_json: Json = False,
) -> None:
    """Look for everything that a run needs in a cluster; exits with 1 if a need is missing or not checked."""
    from pipelines.doctor.diagnosis import diagnose
    from pipelines.doctor.needs import Plan

    check_object_names(namespace=namespace, kfp_namespace=kfp_namespace, service_account=service_account)
    check_object_names(optional=True, serving_namespace=serving_namespace, gateway=gateway)
    plan = Plan(
        namespace=namespace, serving_namespace=(serving_namespace or namespace) if deploys else "",
        service_account=service_account, kfp_namespace=kfp_namespace, train_jobs=train_jobs, gateway=gateway,
        guarded=bool(gateway),
        object_store=object_store,
    )  # fmt: skip
    found = diagnose(plan, kube_context)
    if as_json:
        counts = {state: sum(one.state == state for one in found) for state in ("missing", "unknown")}
        emit({**counts, "findings": [one.document() for one in found]})
    else:
        show_findings(found)
    if any(one.state == "missing" or (one.state == "unknown" and one.required) for one in found):
        raise typer.Exit(1)


def name_problems(plan: "Plan", context: str) -> None:
    """Name what a run lacks, for a command that goes on all the same."""
    from pipelines.doctor.diagnosis import quick_diagnosis

    found, why = quick_diagnosis(plan, context)
    if found and all(one.state == "unknown" for one in found):
        why = found[0].found
    if why:
        errors.print(f"note: the cluster was not checked: {why}", markup=False)
        return
    missing = missing_first(found)
    if any((one.need, one.namespace) == ("namespace", plan.namespace) for one in missing):
        errors.print(f"note: the kubeconfig's cluster has no namespace {plan.namespace}: not checked", markup=False)
        return
    for one in missing:
        errors.print(f"missing: {where(one)}: {one.found}\n{fix_text(one.fix)}", markup=False)
