"""A local kind cluster with KFP, KServe and Trainer: `shoprank kind up | demo | down`, all safe to repeat.

Installs the projects' official releases at the versions in manifests/versions.env.
"""

import contextlib
import itertools
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from components.shared.errors import InputError, ServingError
from components.shared.images import DATA_IMAGE, PREDICTOR_IMAGE, SERVE_IMAGE, TRAIN_IMAGE
from components.shared.release.signing import load_or_create_key
from pipelines import keys
from pipelines.cli.console import console
from pipelines.installing import MANIFESTS
from pipelines.kind_steps import Step, apply, own_steps, platform_steps, versions
from pipelines.resources import KEY_NAME

ROOT = Path(__file__).parents[1]
CLUSTER, CONTEXT, NAMESPACE = "shoprank", "kind-shoprank", "shoprank"
SHARED = Path("/tmp/shoprank-kind")
"""Mounted into every worker (kind-cluster.yaml): registry and inference log."""
KEY = Path("/tmp/shoprank-kind-keys/signing.pem")
"""Signs the bundles of that registry, also in a later cluster; mounted nowhere."""

DEMO_GUARDS = {
    "min_sample": 200, "min_duration_s": 30.0, "max_duration_s": 600.0, "error_tolerance": 5.0, "slow_tolerance": 20.0,
    "empty_tolerance": 5.0, "negligible": 0.02, "min_overlap": 0.1,
}  # fmt: skip
"""Loose limits: a few hundred requests on a laptop show that the rollout works, not which model is better."""

app = typer.Typer(no_args_is_help=True, help="A local kind cluster with KFP, KServe, Trainer and shoprank.")


@app.command()
def up() -> None:
    """Create the cluster, install the platform and manifests, build and push the images."""
    _check_programs()
    SHARED.mkdir(exist_ok=True)
    # Steps and predictors run as user 1000 on any node.
    SHARED.chmod(0o1777)
    _cluster()
    _registry()
    _gpus()
    _apply(platform_steps())
    _standard_mode()
    _images()
    _keys()
    _apply(own_steps())
    console.print(f"the cluster is up: kubectl --context {CONTEXT} get pods -A")


@app.command()
def demo(size: Annotated[str, typer.Option(help="tiny, small or full")] = "tiny") -> None:
    """Train and deploy a model, roll out a second one under live load, and query the endpoint."""
    from pipelines.cli.asking import ask

    common = ["release.backend=kserve", f"release.namespace={NAMESPACE}", f"size={size}", "cpu='2'",
              "memory=4Gi"]  # fmt: skip
    guarded = ["seed=1", "strategy=guarded", "rollout.gateway=shoprank",
               "rollout.evidence=/mnt/shoprank/inference-log",
               f"rollout.guards={json.dumps(DEMO_GUARDS)}"]  # fmt: skip
    with _forwarded("kubeflow", "svc/ml-pipeline", 8888) as api:
        _submit(api, [*common, "seed=0"])
        gateway_service = _kubectl("-n", "envoy-gateway-system", "get", "service", "-o", "name", "-l",
                        "gateway.envoyproxy.io/owning-gateway-name=shoprank").strip()  # fmt: skip
        with _forwarded("envoy-gateway-system", gateway_service, 80) as gate, continuous_load(gate):
            _submit(api, [*common, *guarded])
            console.print_json(json.dumps(ask(gate, {"query": "milk", "k": 3})))


@contextlib.contextmanager
def continuous_load(url: str, workers: int = 4) -> Iterator[list[int]]:
    """Send continuous requests to `url` while the body runs; yields [answers, failures]."""
    from pipelines.cli.asking import ask

    over, counts = threading.Event(), [0, 0]

    def shop(number: int) -> None:
        requests = ({"k": 10}, {"query": "milk", "k": 10}, {"query": "bread", "k": 5})
        for turn in itertools.count(number):
            if over.is_set():
                return
            try:
                ask(url, dict(requests[turn % len(requests)]))
                counts[0] += 1
            except ServingError:
                counts[1] += 1
                over.wait(0.2)

    threads = [threading.Thread(target=shop, args=(number,), daemon=True) for number in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def _forwarded(namespace: str, target: str, port: int) -> Iterator[str]:
    """Forward a port of the cluster to a free local port; yields its address."""
    command = ["kubectl", "--context", CONTEXT, "-n", namespace, "port-forward", target, f":{port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        if not found:
            raise ServingError(
                f"`{' '.join(command)}` did not start forwarding: {line.strip()}", "check that the service is running"
            )
        yield f"http://127.0.0.1:{found[1]}"
    finally:
        process.terminate()
        process.wait()


def _submit(api: str, arguments: list[str]) -> None:
    words = [word for one in arguments for word in ("--set", one)]
    _run(sys.executable, "-m", "pipelines.cli.app", "submit", "training", "--host", api, "--wait",
         "--kube-context", CONTEXT, "--max-cpu", "2", "--max-memory", "4Gi", *words)  # fmt: skip


@app.command()
def down() -> None:
    """Remove the cluster and its image registry; the folders with the model registry and the key are kept."""
    _run("kind", "delete", "cluster", "--name", CLUSTER)
    subprocess.run(["docker", "rm", "-f", "kind-registry"], check=False, capture_output=True)
    console.print(f"{SHARED} and {KEY.parent} are kept; delete them to start from scratch")


def _check_programs() -> None:
    missing = [name for name in ("docker", "kind", "kubectl") if shutil.which(name) is None]
    if missing:
        raise InputError(f"not on the PATH: {', '.join(missing)}", "install Docker, kind >= 0.31 and kubectl >= 1.34")


def _cluster() -> None:
    if CLUSTER not in _said("kind", "get", "clusters").split():
        _run("kind", "create", "cluster", "--config", str(ROOT / "kind-cluster.yaml"))


def _registry() -> None:
    """Start an image registry on localhost:5001 and make it reachable under that name on every node."""
    running = _said("docker", "ps", "-a", "--filter", "name=^kind-registry$", "--format", "{{.State}}").strip()
    if not running:
        _run("docker", "run", "-d", "--restart=always", "-p", "127.0.0.1:5001:5000", "--network", "kind",
             "--name", "kind-registry", versions()["REGISTRY_IMAGE"])  # fmt: skip
    elif running != "running":
        _run("docker", "start", "kind-registry")
    folder = "/etc/containerd/certs.d/localhost:5001"
    hosts = f"mkdir -p {folder} && echo '[host.\"http://kind-registry:5000\"]' > {folder}/hosts.toml"
    for node in _said("kind", "get", "nodes", "--name", CLUSTER).split():
        _run("docker", "exec", node, "sh", "-c", hosts)


def _gpus(count: int = 2) -> None:
    """Advertise fake GPUs on the tainted worker, so that GPU pods are scheduled; they train on the CPU."""
    patch = [{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": str(count)}]
    for node in _kubectl("get", "nodes", "-l", "shoprank.example/pool=gpu", "-o", "name").split():
        _kubectl("patch", node, "--subresource=status", "--type=json", "-p", json.dumps(patch))


def _apply(steps: list[Step]) -> None:
    for step in steps:
        apply(step, CONTEXT, lambda line: console.print(line, style="dim", soft_wrap=True))


def _standard_mode() -> None:
    """Configure KServe for standard mode: no Knative, routes by the Gateway API."""
    raw = _kubectl("-n", "kserve", "get", "configmap", "inferenceservice-config", "-o", "json")
    data = json.loads(raw)["data"]
    deploy, ingress = json.loads(data["deploy"]), json.loads(data["ingress"])
    deploy["defaultDeploymentMode"] = "Standard"
    # The weights of a rollout are in our own HTTPRoute (KServe 0.20 writes none).
    ingress["disableIngressCreation"] = True
    patch = {"data": {"deploy": json.dumps(deploy), "ingress": json.dumps(ingress)}}
    _kubectl("-n", "kserve", "patch", "configmap", "inferenceservice-config", "-p", json.dumps(patch))


def _images() -> None:
    targets = (("components", "data", DATA_IMAGE), ("components", "train", TRAIN_IMAGE),
               ("serving", "prove", SERVE_IMAGE), ("serving", "predictor", PREDICTOR_IMAGE))  # fmt: skip
    for folder, target, image in targets:
        # Without a value, docker uses the environment variable, if set; it selects the torch build to install.
        links = () if target == "data" else ("--build-arg", "PIP_FIND_LINKS")
        _run("docker", "build", "-f", str(ROOT / folder / "Dockerfile"), "--target", target, *links, "-t", image,
             str(ROOT))  # fmt: skip
        _run("docker", "push", image)


def _keys() -> None:
    """Give the cluster the key pair: the private half to the step that signs, the public one to all that verify."""
    _kubectl("apply", "-k", str(MANIFESTS / "namespace"))
    if not _kubectl("-n", "kubeflow", "get", "secret", KEY_NAME, "--ignore-not-found", "-o", "name").strip():
        keys.apply(load_or_create_key(KEY), "kubeflow", NAMESPACE, CONTEXT)


def _kubectl(*words: str) -> str:
    return _said("kubectl", "--context", CONTEXT, *words)


def _run(*command: str) -> None:
    console.print(f"$ {' '.join(command)}", style="dim", soft_wrap=True)
    code = subprocess.run(command, check=False).returncode
    if code:
        raise ServingError(f"`{' '.join(command)}` ended with {code}", "fix the error above and run the command again")


def _said(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ServingError(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()[-500:]}",
                           "fix that error and run the command again")  # fmt: skip
    return done.stdout
