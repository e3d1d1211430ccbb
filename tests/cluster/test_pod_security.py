"""Every pod of ours in a namespace that admits only Pod Security `restricted`, by the real admission."""

import copy
import json
import subprocess
import uuid

import pytest
import yaml

from components.rollout_model.job import RolloutTask, job_manifest
from components.shared.cluster.inference_service import ServiceSpec, manifest
from components.shared.cluster.route import CANDIDATE, candidate_service, stable_service
from components.shared.cluster.train_job import train_job
from components.shared.tests.waiting import eventually
from components.shared.training.launch import LaunchConfig, PodSettings, WorkerTask
from pipelines.compiling import COMPILED, PIPELINES
from pipelines.installing import Installation, render
from tests.cluster.platform.programs import binary

KFP = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What KFP 2.17 itself sets on a step's main container (its compiler, applySecurityContextToExecutorTemplate)."""


@pytest.fixture(scope="module")
def restricted(platform):
    """A namespace with our parts that admits restricted pods only."""
    name = f"t-restricted-{uuid.uuid4().hex[:8]}"
    platform.kubectl("create", "namespace", name)
    platform.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    platform.kubectl(
        "apply", "--server-side", "-f", "-", given=render(Installation(namespace=name, serving_namespace=name))
    )
    # The service account controller makes it; without it no pod is admitted at all.
    assert eventually(lambda: "default" in platform.kubectl("-n", name, "get", "serviceaccounts"), 30)
    yield name
    platform.kubectl("delete", "namespace", "--wait=false", name)


def refusal(platform, namespace: str, pods: list[dict]) -> str:
    """What admission says against the pods, '' if it would create them all."""
    command = [binary("kubernetes"), "kubectl", "--kubeconfig", platform.kubeconfig, "-n", namespace, "create",
               "--dry-run=server", "-f", "-"]  # fmt: skip
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert "warning" not in done.stderr.lower(), done.stderr
    return done.stderr


def pod(name: str, spec: dict) -> dict:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def step_pods(pipeline: str) -> list[dict]:
    """The pods of a pipeline's steps, with what KFP's driver takes from its platform specification."""
    documents = list(yaml.safe_load_all((COMPILED / f"{pipeline}.yaml").read_text()))
    executors = documents[0]["deploymentSpec"]["executors"]
    platforms = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    pods = []
    for name, executor in executors.items():
        if "container" not in executor:
            continue
        own = platforms.get(name, {})
        context = {key: int(value) if isinstance(value, str) else value
                   for key, value in own.get("securityContext", {}).items()}  # fmt: skip
        mounts = [*own.get("pvcMount", []), *own.get("emptyDirMounts", [])]
        volumes = [
            {"name": f"v{number}", "persistentVolumeClaim": {"claimName": mount["constant"]}}
            if "constant" in mount else {"name": f"v{number}", "emptyDir": {"medium": mount.get("medium", "")}}
            for number, mount in enumerate(mounts)
        ]  # fmt: skip
        pods.append(pod(name, {
            "containers": [{
                "name": "main", "image": executor["container"]["image"], "securityContext": KFP | context,
                "volumeMounts": [{"name": f"v{number}", "mountPath": mount["mountPath"]}
                                 for number, mount in enumerate(mounts)],
            }],
            "volumes": volumes,
        }))  # fmt: skip
    return pods


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_steps_are_admitted(platform, restricted, pipeline):
    pods = step_pods(pipeline)
    assert pods and refusal(platform, restricted, pods) == ""


def test_a_step_without_our_security_context_is_refused(platform, restricted):
    (first, *_) = step_pods("training")
    changed = copy.deepcopy(first)
    del changed["spec"]["containers"][0]["securityContext"]["runAsNonRoot"]
    assert "runAsNonRoot" in refusal(platform, restricted, [changed])
    first["spec"]["containers"][0].pop("securityContext")
    assert "violates PodSecurity" in refusal(platform, restricted, [first])


def test_the_job_that_decides_a_rollout_is_admitted(platform, restricted):
    """Its pod is made after the step's own."""
    step = next(one for one in step_pods("training") if "rollout" in one["metadata"]["name"])
    task = RolloutTask(registry="/mnt/shoprank/registry", name="shop", version="v-1", release={}, rollout={})
    job = job_manifest(task, step)
    assert refusal(platform, restricted, [job, pod("decides", job["spec"]["template"]["spec"])]) == ""


def test_workers_of_a_train_job_are_admitted(platform, restricted, training_runtime):
    """The pods are those of the Jobs that Trainer and JobSet make of our TrainJob."""
    settings = PodSettings(volumes=({"name": "shared", "persistentVolumeClaim": {"claimName": "shoprank-registry"}},),
                           volume_mounts=({"name": "shared", "mountPath": "/mnt/shoprank"},))  # fmt: skip
    config = LaunchConfig(launch="trainjob", nodes=2, exchange="/mnt/shoprank/exchange", pod=settings,
                          node_cpu="10m", node_memory="16Mi")  # fmt: skip
    task = WorkerTask(stage="train_retriever", module="components.train_retriever.worker", digest="d", inputs={},
                      settings={}, results=())  # fmt: skip
    body = train_job(task, config, "try", "/mnt/shoprank/exchange/job.json", 60)
    platform.kubectl("-n", restricted, "create", "-f", "-", given=json.dumps(body))

    def jobs() -> list[dict]:
        return json.loads(platform.kubectl("-n", restricted, "get", "jobs", "-o", "json"))["items"]

    assert eventually(jobs, 60)
    spec = jobs()[0]["spec"]["template"]["spec"]
    platform.kubectl("-n", restricted, "delete", "trainjob", "try", "--wait=false")
    assert refusal(platform, restricted, [pod("worker", spec)]) == ""
    for part in (spec, spec["containers"][0]):
        part["securityContext"].pop("runAsNonRoot", None)
    assert "runAsNonRoot" in refusal(platform, restricted, [pod("worker", spec)])


def test_predictors_are_admitted(platform, restricted):
    """The pods are those of the Deployments that KServe makes of our InferenceService with a candidate."""
    spec = ServiceSpec(name="try", model="shop")
    body = manifest(spec, "v1")
    platform.kubectl("-n", restricted, "create", "-f", "-", given=json.dumps(body))
    # A candidate is written later, as a rollout does: KServe needs the stable predictor first.
    own = {key: value for key, value in body["spec"]["predictor"].items() if key not in ("scaleMetric", "scaleTarget")}
    candidate = {"trafficPercent": 0, "predictor": {**own, "name": CANDIDATE}}
    candidate["predictor"].pop("maxReplicas")
    candidate["predictor"]["model"] = {**own["model"], "name": "kserve-container"}
    platform.kubectl("-n", restricted, "patch", "inferenceservice", "try", "--type=merge", "-p",
                     json.dumps({"spec": {"canary": [candidate]}}))  # fmt: skip

    def templates() -> dict[str, dict]:
        found = json.loads(platform.kubectl("-n", restricted, "get", "deployments", "-o", "json"))["items"]
        return {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in found}

    assert eventually(lambda: len(templates()) == 2, 60), templates().keys()
    found = templates()
    platform.kubectl("-n", restricted, "delete", "inferenceservice", "try", "--wait=false")
    assert found.keys() == {stable_service("try"), candidate_service("try")}
    assert refusal(platform, restricted, [pod(name, template) for name, template in found.items()]) == ""
    template = found[stable_service("try")]
    template["containers"][0].pop("securityContext")
    assert "violates PodSecurity" in refusal(platform, restricted, [pod("predictor", template)])
