"""`shoprank install` on a real API server: what the steps may do where, and that a deployment needs no more."""

import json
import os
import subprocess
import sys
import uuid

import pytest
import yaml

from components.deploy_model.kserve import KServeBackend, KServeTarget
from components.shared.cluster.api import connect
from components.shared.cluster.route import Route
from components.shared.errors import ClusterError
from pipelines.installing import STEPS_ACCOUNT, Installation, render
from tests.cluster.platform.programs import binary

EVERYTHING = {"create", "get", "list", "watch", "patch", "delete"}
TRAINING = {
    ("trainer.kubeflow.org", "trainjobs"): EVERYTHING,
    ("batch", "jobs"): {"create", "get", "list", "delete"},
    ("", "pods"): {"get", "list"}, ("", "events"): {"list"}, ("", "pods/log"): {"get"},
}  # fmt: skip
"""What is called for a TrainJob (api.py: find also lists, pods.py, worker_pods.py) and for a rollout's Job (job.py)."""

SERVING = {
    ("serving.kserve.io", "inferenceservices"): EVERYTHING,
    ("gateway.networking.k8s.io", "httproutes"): {"create", "get", "list", "patch"},
    ("gateway.networking.k8s.io", "gateways"): {"get", "list"},
    ("coordination.k8s.io", "leases"): {"create", "get", "list", "patch"},
    ("apps", "deployments"): {"get"},
    ("autoscaling", "horizontalpodautoscalers"): {"delete"},
    ("", "pods"): {"list"}, ("", "events"): {"list"},
}  # fmt: skip
"""... for a deployment or a rollout: standard.py, route.py, gateway.py, versions.py, predictor_pods.py."""


@pytest.fixture(scope="module")
def places(platform):
    """(namespace of the steps, namespace of the predictors, another one), after `shoprank install --apply`."""
    names = [f"t-{kind}-{uuid.uuid4().hex[:8]}" for kind in ("steps", "serving", "other")]
    for name in names:
        platform.kubectl("create", "namespace", name)
        platform.kubectl("-n", name, "create", "serviceaccount", STEPS_ACCOUNT)
    for _ in range(2):
        command = ["shoprank", "install", "--namespace", names[0], "--serving-namespace", names[1], "--apply"]
        done = subprocess.run(
            [sys.executable, "-c", "from pipelines.cli.app import main; main()", *command[1:]], capture_output=True,
            text=True, env={**os.environ, "KUBECONFIG": str(platform.kubeconfig)}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert "serverside-applied" in done.stdout
    yield names
    platform.kubectl("delete", "namespace", "--wait=false", *names)


def rights(platform, place: str, namespace: str) -> dict[tuple[str, str], set[str]]:
    """What the steps' service account of a namespace may do in another, beside what every account may."""

    def rules(user: str) -> set[tuple[str, str, str]]:
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
                  "spec": {"namespace": namespace}}  # fmt: skip
        said = platform.kubectl(
            "create", "--validate=false", "-o", "json", "-f", "-", "--as", user, "--as-group=system:serviceaccounts",
            "--as-group=system:authenticated", given=json.dumps(review),
        )  # fmt: skip
        found = json.loads(said)["status"]["resourceRules"]
        return {(group, resource, verb) for rule in found for group in rule["apiGroups"]
                for resource in rule["resources"] for verb in rule["verbs"]}  # fmt: skip

    result: dict[tuple[str, str], set[str]] = {}
    for group, resource, verb in rules(f"system:serviceaccount:{place}:{STEPS_ACCOUNT}") - rules("nobody"):
        result.setdefault((group, resource), set()).add(verb)
    return result


def test_steps_may_do_what_they_do_and_nothing_more(platform, places):
    steps, serving, other = places
    assert rights(platform, steps, steps) == TRAINING
    assert rights(platform, steps, serving) == SERVING
    assert rights(platform, steps, other) == {}
    for place in places:
        assert rights(platform, other, place) == {}, "the same account of another namespace"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["create", "trainjobs.trainer.kubeflow.org"], ("yes", "no")),
        (["get", "pods", "--subresource=log"], ("yes", "no")),
        (["patch", "inferenceservices.serving.kserve.io"], ("no", "yes")),
        (["create", "httproutes.gateway.networking.k8s.io"], ("no", "yes")),
        (["delete", "httproutes.gateway.networking.k8s.io"], ("no", "no")),
        (["get", "deployments.apps"], ("no", "yes")), (["patch", "deployments.apps"], ("no", "no")),
        (["get", "pods", "--subresource=proxy"], ("no", "no")), (["create", "pods"], ("no", "no")),
        (["create", "pods", "--subresource=exec"], ("no", "no")), (["get", "secrets"], ("no", "no")),
        (["get", "configmaps"], ("no", "no")), (["create", "serviceaccounts", "--subresource=token"], ("no", "no")),
        (["create", "rolebindings.rbac.authorization.k8s.io"], ("no", "no")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_kubectl_auth_can_i_agrees(platform, places, words, answer):
    steps, serving, other = places
    user = f"system:serviceaccount:{steps}:{STEPS_ACCOUNT}"
    command = [binary("kubernetes"), "kubectl", "--kubeconfig", platform.kubeconfig, "auth", "can-i", *words]
    said = [
        subprocess.run([*command, "--as", user, "-n", place], capture_output=True, text=True).stdout.strip()
        for place in (steps, serving, other)
    ]
    assert said == [*answer, "no"]


def test_one_namespace_and_another_account(platform, places):
    _, _, other = places
    installation = Installation(namespace=other, serving_namespace=other, service_account="default-editor")
    documents = list(yaml.safe_load_all(render(installation)))
    subjects = [doc["subjects"] for doc in documents if doc["kind"] == "RoleBinding"]
    assert subjects == [[{"kind": "ServiceAccount", "name": "default-editor", "namespace": other}]] * 2
    assert {doc["metadata"]["namespace"] for doc in documents} == {other}
    named = [(doc["kind"], doc["metadata"]["name"]) for doc in documents]
    assert len(named) == len(set(named))
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    platform.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", given=given)


@pytest.mark.slow
def test_a_deployment_and_a_rollout_need_no_other_right(node, places, empty_shop, registered):
    """The steps' own token deploys into a restricted namespace, and launches, shifts, aborts and promotes."""
    steps, (folder, champion, candidate) = places[0], registered
    space = empty_shop.namespace
    installation = Installation(namespace=steps, serving_namespace=space.name)
    rights_only = [
        doc for doc in yaml.safe_load_all(render(installation)) if "shoprank-serving" == doc["metadata"]["name"]
    ]
    space.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": rights_only}))
    cluster = empty_shop.cluster = as_steps(node, steps, space.name, folder)
    empty_shop.backend = KServeBackend(empty_shop.root, KServeTarget(service=empty_shop.spec, ready_s=90), cluster)
    empty_shop.deploy(champion)
    Route(cluster, empty_shop.spec.name, "shoprank").set(0)
    traffic = empty_shop.traffic()
    traffic.launch(candidate)
    assert traffic.ready()
    traffic.shift(30)
    assert empty_shop.weights() == {"shoprank-predictor": 70, "shoprank-candidate-predictor": 30}
    traffic.abort()
    traffic.launch(candidate)
    traffic.promote()
    assert empty_shop.served() == candidate
    with pytest.raises(ClusterError, match="forbidden"):
        cluster.read("secrets")
    empty_shop.deploy(champion)
    assert empty_shop.served() == champion


def as_steps(node, steps: str, namespace: str, folder):
    """Connect with the token of the steps' service account, as a step in a pod does."""
    content = json.loads(node.kubeconfig.read_text())
    token = node.kubectl("-n", steps, "create", "token", STEPS_ACCOUNT).strip()
    content["users"][0]["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(path))
        cluster = connect(namespace=namespace)
    # Pods are asked directly, as from inside: the steps have no right to pods/proxy.
    cluster.inside = True
    return cluster
