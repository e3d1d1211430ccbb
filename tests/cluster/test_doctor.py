"""`shoprank doctor` on a real API server: everything missing is named with a fix, and after the fixes nothing is."""

import json
import os
import subprocess
import sys
import uuid

import pytest

from components.shared.tests.waiting import eventually
from pipelines import keys
from pipelines.doctor.diagnosis import diagnose
from pipelines.doctor.needs import Plan, is_command
from pipelines.doctor.rights import SERVING, TRAINING
from pipelines.installing import MANIFESTS, STEPS_ACCOUNT, Installation, render
from pipelines.tests.kfp_api import kfp_server
from tests.cluster import test_install

OTHER_KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""


@pytest.fixture(scope="module")
def spaces(platform):
    """(namespace of steps and KFP, namespace of predictors), both empty."""
    names = [f"t-{kind}-{uuid.uuid4().hex[:8]}" for kind in ("doctor", "served")]
    for name in names:
        platform.kubectl("create", "namespace", name)
    yield names
    platform.kubectl("delete", "namespace", "--wait=false", *names)
    platform.kubectl("delete", "persistentvolume", "--ignore-not-found", "--wait=false", *names)


@pytest.fixture
def doctor(platform, spaces, monkeypatch):
    """A function that diagnoses; returns {(need, namespace): finding}."""
    monkeypatch.setenv("KUBECONFIG", str(platform.kubeconfig))

    def run(**other):
        plan = Plan(namespace=spaces[0], serving_namespace=spaces[1], kfp_namespace=spaces[0], **other)
        return {(one.need, one.namespace): one for one in diagnose(plan)}

    return run


def missing(found) -> set[str]:
    return {need for (need, _), one in found.items() if one.state == "missing"}


def test_table_of_rights_is_that_of_the_roles():
    for table, expected in ((TRAINING, test_install.TRAINING), (SERVING, test_install.SERVING)):
        rights: dict[tuple[str, str], set[str]] = {}
        for one in table:
            rights.setdefault((one.group, one.resource), set()).add(one.verb)
        assert rights == expected


def test_everything_missing_has_a_fix_and_after_the_fixes_nothing_is(platform, spaces, doctor, training_runtime):
    steps, served = spaces
    found = doctor(train_jobs=True, gateway="shoprank", object_store=True)
    assert missing(found) == {
        "service account pipeline-runner", "claim shoprank-registry", "rights of the steps where they run",
        "rights of the steps to deploy", "service account shoprank-predictor", "ServingRuntime shoprank",
        "Secret shoprank-signing-key", "ConfigMap shoprank-signing-key", "Secret shoprank-object-store",
        "Gateway shoprank",
    }  # fmt: skip
    assert all(one.fix for one in found.values() if one.state != "ok")
    fix = found["rights of the steps to deploy", served].fix
    assert fix == f"shoprank install --namespace {steps} --serving-namespace {served} --apply"
    assert found["CRD httproutes", ""].found == "v1 of Gateway API v1.5.1"
    retries = found["KFP's retry policy (workflow-controller-configmap)", steps]
    assert retries.state == "absent" and "pipeline-retries" in retries.fix

    platform.kubectl("-n", steps, "create", "serviceaccount", STEPS_ACCOUNT)
    keys.apply(keys.new_key(), steps, served)
    given = render(Installation(namespace=steps, serving_namespace=served))
    platform.kubectl("apply", "--server-side", "-f", "-", given=given)
    platform.kubectl("apply", "-n", steps, "-k", str(MANIFESTS / "pipeline-retries"))
    platform.kubectl("-n", served, "create", "secret", "generic", "shoprank-object-store",
                     "--from-literal=AWS_ACCESS_KEY_ID=a", "--from-literal=AWS_SECRET_ACCESS_KEY=b")  # fmt: skip
    found = doctor(train_jobs=True, object_store=True)
    claim = found["claim shoprank-registry", steps]
    assert missing(found) == {"claim shoprank-registry"} and claim.found.startswith("Pending: "), missing(found)
    assert found["KFP's retry policy (workflow-controller-configmap)", steps].state == "ok"

    _bind(platform, steps)
    assert eventually(lambda: not missing(doctor(train_jobs=True, object_store=True)), 30)
    assert "ReadWriteMany" in doctor()["claim shoprank-registry", steps].found


def test_a_gateway_that_is_not_programmed_says_why(platform, spaces, doctor):
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    gateway = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "none"},
               "spec": {"gatewayClassName": "nobody", "listeners": [listener]}}  # fmt: skip
    platform.kubectl("-n", spaces[1], "apply", "-f", "-", given=json.dumps(gateway))
    found = doctor(gateway="none")["Gateway none", spaces[1]]
    assert found.state == "missing" and found.found.startswith("Accepted is Unknown")


def test_wrong_key_policy_and_runtime_are_named(platform, spaces, doctor, training_runtime):
    _, served = spaces
    patches = {
        "configmap/shoprank-signing-key": {"data": {"signing.pem.pub": OTHER_KEY}},
        "networkpolicy/shoprank-predictor-steps": {"spec": {"ingress": []}},
    }
    for name, patch in patches.items():
        platform.kubectl("-n", served, "patch", name, "--type=merge", "-p", json.dumps(patch))
    platform.kubectl(
        "-n", served, "patch", "servingruntime/shoprank", "--type=json", "-p",
        json.dumps([{"op": "replace", "path": "/spec/containers/0/image", "value": "example/predictor:1"}]),
    )  # fmt: skip
    found = doctor()
    assert missing(found) >= {"ConfigMap shoprank-signing-key", "steps reach predictors", "ServingRuntime shoprank"}
    assert "another public key" in found["ConfigMap shoprank-signing-key", served].found
    assert found["ConfigMap shoprank-signing-key", spaces[0]].state == "ok"
    assert "example/predictor:1" in found["ServingRuntime shoprank", served].found


def test_commands_of_the_fixes_work_as_printed(platform, spaces, doctor, tmp_path):
    steps, served = spaces
    # The test before left another key there; then there is none; then only what is left of the pair.
    for _ in range(2):
        finding = doctor()["ConfigMap shoprank-signing-key", served]
        assert finding.state == "missing"
        paste(platform, finding.fix, tmp_path)
        assert doctor()["ConfigMap shoprank-signing-key", served].state == "ok"
        platform.kubectl("-n", served, "delete", "configmap", "shoprank-signing-key")
    platform.kubectl("-n", steps, "delete", "secret", "shoprank-signing-key")
    done = run_with(platform, "keys", "create", "--namespace", steps, "--serving-namespace", served, "--apply")
    assert done.returncode == 2 and f"ConfigMap shoprank-signing-key in {steps} of another pair exists" in done.stderr
    paste(platform, done.stderr, tmp_path)
    paste(platform, doctor()["Secret shoprank-signing-key", steps].fix, tmp_path)
    found = doctor()
    assert {one.state for (need, _), one in found.items() if "signing-key" in need} == {"ok"}
    done = run_with(platform, "keys", "create", "--namespace", steps, "--serving-namespace", served, "--apply")
    assert done.returncode == 2 and f"Secret shoprank-signing-key in {steps} and ConfigMap" in done.stderr
    paste(platform, done.stderr, tmp_path)
    assert "signing.pem" in (tmp_path / "FILE").read_text()
    assert missing(doctor()) >= {"Secret shoprank-signing-key", "ConfigMap shoprank-signing-key"}


def test_a_claim_without_a_class_is_given_one_as_printed(platform, spaces, doctor, tmp_path):
    found = doctor()["claim shoprank-registry", spaces[1]]
    assert found.state == "missing" and found.found.startswith("Pending: FailedBinding")
    storage_class = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": spaces[1]},
                     "provisioner": "example/none", "volumeBindingMode": "WaitForFirstConsumer"}  # fmt: skip
    platform.kubectl("apply", "-f", "-", given=json.dumps(storage_class))
    paste(platform, found.fix.replace("STORAGE_CLASS", spaces[1]), tmp_path)
    claim = json.loads(platform.kubectl("-n", spaces[1], "get", "pvc", "shoprank-registry", "-o", "json"))
    assert claim["spec"]["storageClassName"] == spaces[1]
    platform.kubectl("delete", "storageclass", spaces[1])


def test_install_applies_nothing_when_a_namespace_is_missing(platform, spaces):
    name = f"t-bare-{uuid.uuid4().hex[:8]}"
    platform.kubectl("create", "namespace", name)
    done = run_with(platform, "install", "--namespace", name, "--serving-namespace", "t-nowhere", "--apply")
    assert done.returncode == 1 and "kubectl create namespace t-nowhere" in done.stderr
    assert "the cluster has no namespace t-nowhere; nothing was applied" in done.stderr
    assert not platform.kubectl("-n", name, "get", "role,rolebinding", "-o", "name").strip()
    platform.kubectl("delete", "namespace", "--wait=false", name)


def paste(platform, fix, folder):
    """Run the commands of a fix in a shell."""
    commands = [line for line in fix.split("\n") if is_command(line)]
    (folder / "shoprank").write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from pipelines.cli.app import main; main()" "$@"\n'
    )
    (folder / "shoprank").chmod(0o755)
    environment = {**os.environ, "KUBECONFIG": str(platform.kubeconfig), "PYTHONPATH": str(MANIFESTS.parent),
                   "PATH": f"{folder}:{os.environ['PATH']}"}  # fmt: skip
    done = subprocess.run(["bash", "-ec", "\n".join(commands)], capture_output=True, text=True, cwd=folder,
                          env=environment, check=False)  # fmt: skip
    assert commands and done.returncode == 0, done.stderr


def test_what_may_not_be_read_is_unknown_and_not_missing(platform, spaces, tmp_path, monkeypatch):
    content = json.loads(platform.kubeconfig.read_text())
    token = platform.kubectl("-n", spaces[0], "create", "token", "default").strip()
    content["users"][0]["user"] = {"token": token}
    (tmp_path / "config").write_text(json.dumps(content))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    found = diagnose(Plan(namespace=spaces[0], serving_namespace=spaces[1]))
    assert {one.state for one in found} == {"unknown"}
    assert all("forbidden" in one.found for one in found)


def test_command_prints_a_table_or_json_and_its_exit_code_tells(platform, spaces):
    environment = {**os.environ, "KUBECONFIG": str(platform.kubeconfig)}
    command = [sys.executable, "-c", "from pipelines.cli.app import main; main()", "doctor", "--namespace", "t-nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1 and "missing: namespace in t-nowhere" in done.stdout and "fix:" in done.stdout
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, env=environment, check=False)
    answer = json.loads(done.stdout)
    assert done.returncode == 1 and answer["missing"] == sum(one["state"] == "missing" for one in answer["findings"])


def test_submit_names_what_is_missing_and_goes_on(platform, spaces):
    with kfp_server() as api:
        done = run_with(platform, "submit", "training", "--host", api.host, "--namespace", spaces[1], "--set",
                        "release.backend=kserve", "--set", "release.namespace=t-nowhere")  # fmt: skip
    assert done.returncode == 0 and "/runs/details/r1" in done.stdout, done.stderr
    for need in ("service account default-editor", "namespace in t-nowhere"):
        assert f"missing: {need}" in done.stderr
    with kfp_server() as api:
        done = run_with(platform, "submit", "training", "--host", api.host, "--namespace", "t-elsewhere")
    assert done.returncode == 0 and done.stderr.count("\n") == 1 and "not checked" in done.stderr


def run_with(platform, *arguments):
    return subprocess.run(
        [sys.executable, "-c", "from pipelines.cli.app import main; main()", *arguments], capture_output=True,
        text=True, env={**os.environ, "KUBECONFIG": str(platform.kubeconfig)}, check=False,
    )  # fmt: skip


def _bind(platform, namespace: str) -> None:
    """Give the claim a volume, as an administrator does."""
    volume = {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace},
        "spec": {"accessModes": ["ReadWriteMany"], "capacity": {"storage": "20Gi"},
                 "claimRef": {"namespace": namespace, "name": "shoprank-registry"}, "hostPath": {"path": "/tmp"}},
    }  # fmt: skip
    platform.kubectl("apply", "-f", "-", given=json.dumps(volume))
