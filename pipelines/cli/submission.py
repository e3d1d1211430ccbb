"""`shoprank compile`, `lint`, `submit`, `upload` and `schedule`: pipelines for a Kubeflow Pipelines server."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from components.shared.errors import InputError
from components.shared.object_names import check_object_names
from components.shared.wording import counted
from pipelines.cli.cluster import name_problems
from pipelines.cli.configuring import check_schema
from pipelines.cli.console import console, errors
from pipelines.cli.parameters import Config, Json, Set, emit
from pipelines.connecting import Connection

NATIVE = (
    "note: Kubernetes objects, for KFP with its Pipeline CRDs and --pipelinesStoreKubernetes=true; the "
    "platform-agnostic install has neither: give it the other form"
)
"""Said of a pipeline in the Kubernetes-native form."""

Pipeline = Annotated[str, typer.Argument(help="training, tuning or catalog")]
Host = Annotated[
    str,
    typer.Option(
        "--host",
        envvar="KF_PIPELINES_ENDPOINT",
        help="Address of KFP's UI, which has the API too, or of the API. In a cluster: KFP's service by default.",
    ),
]
Namespace = Annotated[str, typer.Option("--namespace", help="Namespace of the runs, on a multi-user server.")]
Token = Annotated[str, typer.Option("--token", envvar="KF_PIPELINES_TOKEN", help="Bearer token.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="KF_PIPELINES_SA_TOKEN_PATH",
        help="File with a bearer token, read for each request: a pod's projected service account token.",
    ),
]
Cookies = Annotated[
    str, typer.Option("--cookies", envvar="KF_PIPELINES_COOKIES", help="Cookie header, such as a login's session.")
]
Ca = Annotated[Path | None, typer.Option("--ca", help="PEM file of authorities that sign the server's certificate.")]
NoVerify = Annotated[bool, typer.Option("--no-verify", help="Do not check the server's certificate.")]
Ui = Annotated[
    str, typer.Option("--ui", envvar="KF_PIPELINES_UI_ENDPOINT", help="Address of the UI, for links. Default: --host.")
]
Experiment = Annotated[
    str,
    typer.Option("--experiment", envvar="KF_PIPELINES_DEFAULT_EXPERIMENT_NAME", help="Experiment of the runs."),
]
ServiceAccount = Annotated[
    str, typer.Option("--service-account", help="Service account of the steps. Default: the server's.")
]
PipelineRoot = Annotated[
    str, typer.Option("--pipeline-root", help="Where artifacts go, such as s3://bucket/prefix. Default: the server's.")
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Run every step, also where KFP has a result of the same inputs.")
]
CatalogItems = Annotated[str, typer.Option("--items", help="items_source of the catalog pipeline.")]


def compile_(
    check: Annotated[bool, typer.Option("--check", help="Only check that the files are up to date.")] = False,
) -> None:
    """Write pipelines/compiled/* and components/*/component.yaml: YAML for Kubeflow Pipelines and the JSON Schema."""
    from pipelines.compiling import compile_all

    for path in [*compile_all(check), check_schema(check)]:
        console.print(f"{path} {'is current' if check else 'written'}")


def lint(
    files: Annotated[list[Path], typer.Argument(help="Compiled pipelines, in KFP or Kubernetes-native form.")],
    as_json: Json = False,
) -> None:
    """Check compiled pipelines for problems on a cluster; exits with 1 if there are any."""
    from pipelines.linting import lint as findings_of

    found: list[dict[str, str]] = []
    native: list[Path] = []
    for path in files:
        if not path.is_file():
            raise InputError(
                f"FILES: {path} does not exist", "give the paths of compiled pipelines (pipelines/compiled/*.yaml)"
            )
        text = path.read_text(encoding="utf-8")
        found += [{"file": str(path), "finding": one} for one in findings_of(text)]
        if "\nkind: PipelineVersion\n" in text:
            native.append(path)
    if as_json:
        emit({"files": len(files), "findings": found})
    else:
        for one in found:
            console.print(f"{one['file']}: {one['finding']}", soft_wrap=True)
        for path in native:
            console.print(f"{path}: {NATIVE}", soft_wrap=True)
        console.print(f"{counted(len(files), 'file')}, {counted(len(found), 'finding')}")
    if found:
        raise typer.Exit(1)


def submit(
    pipeline: Pipeline,
    host: Host = "",
    namespace: Namespace = "",
    experiment: Experiment = "shoprank",
    name: Annotated[str, typer.Option(help="Name of the run. Default: the pipeline's, with the time.")] = "",
    items: CatalogItems = "",
    config: Config = None,
    set_: Set = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the run; exits with 1 if it failed, with 3 if it was cancelled.")
    ] = False,
    service_account: ServiceAccount = "",
    pipeline_root: PipelineRoot = "",
    max_cpu: Annotated[str, typer.Option("--max-cpu", help="CPUs that a step asks for at most, such as 2.")] = "",
    max_memory: Annotated[str, typer.Option("--max-memory", help="Memory that a step asks for at most: 4Gi.")] = "",
    no_cache: NoCache = False,
    token: Token = "",
    token_file: TokenFile = None,
    cookies: Cookies = "",
    ca: Ca = None,
    no_verify: NoVerify = False,
    ui: Ui = "",
    kube_context: Annotated[
        str, typer.Option("--kube-context", help="Context of the kubeconfig, for the check of `shoprank doctor`.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Submit the compiled pipeline to a Kubeflow Pipelines server and print the run's address."""
    from pipelines.connecting import connect
    from pipelines.doctor.diagnosis import has_kubeconfig, plan_of
    from pipelines.overrides import Overrides
    from pipelines.submitting import Submission, compiled
    from pipelines.submitting import submit as send

    submission = Submission(
        pipeline=pipeline, arguments=_arguments(pipeline, items, config, set_), name=name, experiment=experiment,
        service_account=service_account, pipeline_root=pipeline_root,
        overrides=Overrides(max_cpu=max_cpu, max_memory=max_memory, no_cache=no_cache),
    )  # fmt: skip
    check_object_names(optional=True, namespace=namespace, service_account=service_account)
    compiled(pipeline)
    server = connect(Connection(
        host=host, namespace=namespace, token=token, token_file=token_file, cookies=cookies, ca=ca,
        verify=not no_verify, ui=ui,
    ))  # fmt: skip
    if kube_context or has_kubeconfig():
        name_problems(plan_of(pipeline, submission.arguments, server.namespace or "", service_account), kube_context)
    run_id = send(server, submission)
    address = server.page(f"runs/details/{run_id}")
    if not as_json:
        console.print(address, soft_wrap=True)
    if wait:
        _wait(server, run_id, as_json)
    elif as_json:
        emit({"run": address, "run_id": run_id})


def upload(
    pipeline: Pipeline,
    host: Host = "",
    namespace: Namespace = "",
    name: Annotated[str, typer.Option(help="Name of the pipeline on the server. Default: shoprank-PIPELINE.")] = "",
    version: Annotated[
        str, typer.Option(help="Name of a new version. Default: shoprank's version and a digest of the pipeline.")
    ] = "",
    token: Token = "",
    token_file: TokenFile = None,
    cookies: Cookies = "",
    ca: Ca = None,
    no_verify: NoVerify = False,
    ui: Ui = "",
    as_json: Json = False,
) -> None:
    """Upload the compiled pipeline to a Kubeflow Pipelines server, or a new version of it if it is there."""
    from pipelines.connecting import connect
    from pipelines.submitting import compiled
    from pipelines.submitting import upload as send

    check_object_names(optional=True, namespace=namespace)
    compiled(pipeline)
    server = connect(Connection(
        host=host, namespace=namespace, token=token, token_file=token_file, cookies=cookies, ca=ca,
        verify=not no_verify, ui=ui,
    ))  # fmt: skip
    address, uploaded = send(server, pipeline, name, version)
    if as_json:
        return emit({"pipeline": address, "uploaded": uploaded})
    console.print(address if uploaded else f"{address} is already there", soft_wrap=True)


def schedule(
    pipeline: Pipeline,
    host: Host = "",
    namespace: Namespace = "",
    experiment: Experiment = "shoprank",
    name: Annotated[str, typer.Option(help="Name of the schedule. Default: the pipeline's.")] = "",
    cron: Annotated[
        str, typer.Option(help='Crontab of 5 fields, or KFP\'s of 6 with seconds first: "0 2 * * *" is 02:00.')
    ] = "",
    every: Annotated[str, typer.Option(help="Interval: 90s, 30m, 6h, 1d.")] = "",
    catch_up: Annotated[bool, typer.Option("--catch-up", help="Start runs that were missed.")] = False,
    max_concurrency: Annotated[int, typer.Option(help="Runs at the same time, 1 to 10.")] = 1,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="State of a new schedule, or change of an existing one.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the schedule of this name.")] = False,
    items: CatalogItems = "",
    config: Config = None,
    set_: Set = None,
    no_cache: NoCache = False,
    service_account: ServiceAccount = "",
    pipeline_root: PipelineRoot = "",
    token: Token = "",
    token_file: TokenFile = None,
    cookies: Cookies = "",
    ca: Ca = None,
    no_verify: NoVerify = False,
    ui: Ui = "",
    as_json: Json = False,
) -> None:
    """Run the compiled pipeline again and again on a Kubeflow Pipelines server, by crontab or interval."""
    from pipelines.connecting import connect
    from pipelines.overrides import Overrides
    from pipelines.submitting import Submission, Trigger, compiled, switch
    from pipelines.submitting import schedule as send

    submission = Submission(
        pipeline=pipeline, arguments=_arguments(pipeline, items, config, set_), name=name, experiment=experiment,
        service_account=service_account, pipeline_root=pipeline_root,
        overrides=Overrides(no_cache=no_cache),
    )  # fmt: skip
    check_object_names(optional=True, namespace=namespace, service_account=service_account)
    compiled(pipeline)
    trigger = Trigger(
        cron=cron, every=every, catch_up=catch_up, max_concurrency=max_concurrency, enabled=enable is not False
    )  # fmt: skip
    switched = enable is not None and not (cron or every)
    if switched and replace:
        raise InputError("--replace needs --cron or --every", "give one of them, or leave --replace out")
    if not switched:
        trigger.fields()
    server = connect(Connection(
        host=host, namespace=namespace, token=token, token_file=token_file, cookies=cookies, ca=ca,
        verify=not no_verify, ui=ui,
    ))  # fmt: skip
    if switched:
        address = switch(server, experiment, name or pipeline, bool(enable))
    else:
        address = send(server, submission, trigger, replace)
    emit({"schedule": address}) if as_json else console.print(address, soft_wrap=True)


def _arguments(pipeline: str, items: str, config: Path | None, words: Sequence[str] | None) -> dict[str, Any]:
    """Arguments of a pipeline from --items, --config and --set, checked."""
    from pipelines.compiling import parameters_of
    from pipelines.config import given_options, named_in, pipeline_arguments

    known = parameters_of(pipeline)
    given = given_options(config, list(words or []))
    given |= {"items_source": items} if items else {}
    return pipeline_arguments(given, known, named_in(words or ()))


def _wait(server: Any, run_id: str, as_json: bool) -> None:
    """Follow a run; prints the last lines of its failed steps, or with `as_json` one document.

    Raises:
        FailedRun: it failed.
        CancelledRun: it was cancelled.
    """
    from pipelines.following import follow

    ended = follow(server, run_id, (lambda _: None) if as_json else console.print)
    if as_json:
        emit(ended.document())
    for step in () if as_json else ended.failed_steps:
        lines = [f"last lines of {step.step}:", *(f"  {line}" for line in step.last_lines)]
        errors.print("\n".join(lines if step.last_lines else []), markup=False, end="\n" if step.last_lines else "")
    ended.check()
