"""Needs of the steps: their namespace, account, rights, and of Kubeflow Pipelines and Trainer."""

import json
from collections.abc import Iterator

import yaml

from components.shared import images
from components.shared.cluster.api import Manifest
from components.shared.cluster.kinds import CLUSTER_TRAINING_RUNTIME, TRAIN_JOB, Kind
from components.shared.cluster.train_job import RUNTIME
from components.shared.errors import MissingObject
from pipelines.doctor import rights
from pipelines.doctor.claims import claim
from pipelines.doctor.needs import Need, Plan, Unmet, exists
from pipelines.doctor.reading import Reader, specification
from pipelines.installing import PROFILE_ACCOUNT, STEPS_ACCOUNT
from pipelines.resources import OBJECT_STORE_SECRET

KFP_SERVICE = "ml-pipeline"
ENFORCED = "pod-security.kubernetes.io/enforce"
NATIVE = Kind("pipelines.kubeflow.org", "v2beta1", "pipelineversions", "PipelineVersion", "Kubeflow Pipelines 2.17")


def needs(reader: Reader, plan: Plan) -> Iterator[Need]:
    """What the steps need."""
    place, install = plan.namespace, install_command(plan)
    yield Need(name="namespace", namespace=place, read=lambda: reader.namespace(place), judge=pod_security,
               fix=f"kubectl create namespace {place}")  # fmt: skip
    yield Need(
        name=f"service account {plan.service_account}", namespace=place,
        read=lambda: reader.core(place, "serviceaccounts", plan.service_account), judge=exists,
        fix=f"in a profile give --service-account {PROFILE_ACCOUNT}; KFP makes {STEPS_ACCOUNT} in its own namespace; "
            f"elsewhere create it:\nkubectl -n {place} create serviceaccount {plan.service_account}",
    )  # fmt: skip
    yield claim(reader, place, install)
    yield from pull_secret(reader, place)
    yield images_pulled(reader, place)
    yield Need(
        name="rights of the steps where they run", namespace=place, judge=granted, fix=install,
        read=lambda: reader.denied(plan, place, rights.TRAINING),
        only_for="" if plan.train_jobs or plan.guarded else "training.launch=trainjob and strategy=guarded",
    )  # fmt: skip
    yield from _trainer(reader, plan)
    yield from _pipelines(reader, plan)


def install_command(plan: Plan) -> str:
    """The command that makes rights and objects."""
    serving = plan.serving_namespace if plan.serving_namespace != plan.namespace else ""
    account = plan.service_account if plan.service_account != Plan.service_account else ""
    return " ".join(filter(None, (
        f"shoprank install --namespace {plan.namespace}", f"--serving-namespace {serving}" if serving else "",
        f"--service-account {account}" if account else "", "--apply",
    )))  # fmt: skip


def granted(denied: list[rights.Right]) -> str:
    """Judge the rights that are not there."""
    verbs: dict[str, list[str]] = {}
    for one in denied:
        verbs.setdefault(one.resource, []).append(one.verb)
    if denied:
        raise Unmet("may not " + "; ".join(f"{', '.join(lacking)} {name}" for name, lacking in verbs.items()))
    return "granted"


def pod_security(namespace: Manifest) -> str:
    """Every pod of ours passes `restricted`, so no level is wrong."""
    level = namespace["metadata"].get("labels", {}).get(ENFORCED)
    return f"Pod Security enforces {level}, which our pods pass" if level else "no Pod Security label"


def pull_secret(reader: Reader, place: str) -> Iterator[Need]:
    """The Secret that images are pulled with, if one is configured."""
    name = images.PULL_SECRET
    if name:
        yield Need(
            name=f"Secret {name} for images", namespace=place, read=lambda: reader.core(place, "secrets", name),
            judge=exists,
            fix=f"kubectl -n {place} create secret docker-registry {name} --docker-server=REGISTRY "
                "--docker-username=USER --docker-password=PASSWORD",
        )  # fmt: skip


def images_pulled(reader: Reader, place: str) -> Need:
    """No pod of ours waits for its image."""

    def judge(pods: list[Manifest]) -> str:
        waiting = {
            f"{one['image']} ({one['state']['waiting']['reason']})"
            for pod in pods for one in pod.get("status", {}).get("containerStatuses", [])
            if one["image"].startswith(f"{images.REGISTRY}/")
            and one["state"].get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff")
        }  # fmt: skip
        if waiting:
            raise Unmet(f"cannot be pulled: {', '.join(sorted(waiting))}")
        return f"no pod waits for one of {images.REGISTRY}"

    return Need(
        name="images", namespace=place, read=lambda: reader.within(place).read("pods")["items"], judge=judge,
        depends=(place,),
        fix="push them there, or set registry, tag and pull secret (SHOPRANK_IMAGE_*) and compile again:\n"
            "shoprank compile",
    )  # fmt: skip


def login(reader: Reader, place: str, only_for: str) -> Need:
    """The Secret of the object store."""

    def judge(found: Manifest) -> str:
        lacks = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} - found.get("data", {}).keys()
        if lacks:
            patch = json.dumps({"stringData": {name: name.removeprefix("AWS_") for name in sorted(lacks)}})
            raise Unmet(
                f"has no {', '.join(sorted(lacks))}",
                f"kubectl -n {place} patch secret {OBJECT_STORE_SECRET} --type=merge -p '{patch}'",
            )
        return "there"

    return Need(
        name=f"Secret {OBJECT_STORE_SECRET}", namespace=place, judge=judge, only_for=only_for,
        read=lambda: reader.core(place, "secrets", OBJECT_STORE_SECRET),
        fix=f"kubectl -n {place} create secret generic {OBJECT_STORE_SECRET} "
            "--from-literal=AWS_ACCESS_KEY_ID=ACCESS_KEY_ID --from-literal=AWS_SECRET_ACCESS_KEY=SECRET_ACCESS_KEY",
    )  # fmt: skip


def _trainer(reader: Reader, plan: Plan) -> Iterator[Need]:
    only_for = "" if plan.train_jobs else "training.launch=trainjob"

    def version(found: Manifest) -> str:
        if "runtimePatches" not in specification(found, TRAIN_JOB):
            raise Unmet("TrainJobs have no runtimePatches: Trainer is older than 2.3")
        return f"{TRAIN_JOB.version}, as of Trainer 2.3"

    def image(found: Manifest) -> str:
        jobs = found["spec"]["template"]["spec"]["replicatedJobs"]
        named = jobs[0]["template"]["spec"]["template"]["spec"]["containers"][0].get("image", "")
        return f"its image is {named}; a TrainJob names its own"

    yield Need(name="CRD trainjobs", namespace="", read=lambda: reader.definition(TRAIN_JOB), judge=version,
               fix="install Kubeflow Trainer 2.3", only_for=only_for)  # fmt: skip
    yield Need(
        name=f"ClusterTrainingRuntime {RUNTIME}", namespace="", judge=image, only_for=only_for,
        read=lambda: reader.within(plan.namespace).get(CLUSTER_TRAINING_RUNTIME, RUNTIME),
        fix="kubectl apply --server-side -k manifests/cluster",
    )  # fmt: skip


def _pipelines(reader: Reader, plan: Plan) -> Iterator[Need]:
    place = plan.kfp_namespace

    def retries(found: Manifest) -> str:
        defaults = yaml.safe_load(found.get("data", {}).get("workflowDefaults", "") or "{}") or {}
        strategy = defaults.get("spec", {}).get("templateDefaults", {}).get("retryStrategy", {})
        if strategy.get("retryPolicy") != "Always":
            raise Unmet(f"retryPolicy is {strategy.get('retryPolicy', 'not set')}: failed steps are not retried")
        return "failed steps are retried"

    yield Need(
        name="Kubeflow Pipelines (service ml-pipeline)", namespace=place, judge=lambda where: f"in {where}",
        read=lambda: _kfp_place(reader, place, plan.namespace), only_for="shoprank submit to a KFP of this cluster",
        fix="install Kubeflow Pipelines, or name its namespace (--kfp-namespace)",
    )  # fmt: skip
    yield Need(
        name="KFP's retry policy (workflow-controller-configmap)", namespace=place, judge=retries,
        read=lambda: reader.core(place, "configmaps", "workflow-controller-configmap"),
        fix=f"kubectl apply -n {place} -k manifests/pipeline-retries", only_for="retries of steps that fail",
    )  # fmt: skip
    yield Need(
        name="CRD pipelineversions", namespace="", read=lambda: reader.definition(NATIVE),
        judge=lambda found: NATIVE.version if specification(found, NATIVE) else "there",
        fix="use pipelines/compiled/*.yaml without .kubernetes, or install KFP's Pipeline CRDs",
        only_for="the Kubernetes-native form (*.kubernetes.yaml)",
    )  # fmt: skip


def _kfp_place(reader: Reader, *places: str) -> str:
    """First namespace with KFP's API.

    Raises:
        MissingObject: none has it.
        ClusterError: one may not be read.
    """
    for place in places[:-1]:
        try:
            reader.core(place, "services", KFP_SERVICE)
        except MissingObject:
            continue
        return place
    reader.core(places[-1], "services", KFP_SERVICE)
    return places[-1]
