"""What `shoprank kind up` applies, as data: each project's official release, then our manifests, in order."""

import functools
import json
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpx
import yaml

from components.shared.errors import InputError, ServingError
from pipelines.installing import MANIFESTS

Manifest = dict[str, Any]

GATEWAY_GROUP = "gateway.networking.k8s.io"
EXPERIMENTS = "gateway.networking.x-k8s.io"
"""Group of kinds that only the experimental channel of the Gateway API has."""
DEPLOYMENTS = "deployment --all --for=condition=Available --timeout=900s"
"""Arguments of `kubectl wait` for all Deployments of a namespace."""
_ATTEMPTS, _PAUSE_S = 5, 15.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """One source of objects; its CRDs are applied first and its webhooks last.

    Attributes:
        name: of the part. source: URL of a file, or URL or folder of a kustomization.
        kustomized: whether it is a kustomization.
        namespace: created before; '' if the source brings its own.
        elsewhere: API groups whose CRDs and upgrade policies an earlier step has applied.
        waits: (namespace, arguments of `kubectl wait`) afterwards.
    """

    name: str
    source: str
    kustomized: bool = False
    namespace: str = ""
    elsewhere: tuple[str, ...] = ()
    waits: tuple[tuple[str, str], ...] = ()

    def documents(self, read: Callable[["Step"], str]) -> list[Manifest]:
        """The objects to apply.

        Args:
            read: Returns the source's YAML.
        """
        found = [one for one in yaml.load_all(read(self), yaml.CSafeLoader) if one]
        return [one for one in found if not any(_belongs(one, group) for group in self.elsewhere)]


def versions() -> dict[str, str]:
    """Versions pinned in manifests/versions.env."""
    lines = (MANIFESTS / "versions.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def platform_steps() -> list[Step]:
    """The parts of the platform, each after those that it needs."""
    pinned = versions()
    release = "https://github.com/{}/releases/download/{}"
    kfp = f"https://github.com/kubeflow/pipelines/manifests/kustomize/{{}}?ref={pinned['KFP']}"
    kserve = f"https://github.com/kserve/kserve/raw/{pinned['KSERVE']}/install/{pinned['KSERVE']}"
    manager, gateway, envoy = pinned["CERT_MANAGER"], pinned["GATEWAY_API"], pinned["ENVOY_GATEWAY"]
    return [
        Step(name="cert-manager", waits=(("cert-manager", DEPLOYMENTS),),
             source=release.format("cert-manager/cert-manager", f"{manager}/cert-manager.yaml")),
        Step(name="gateway-api",
             source=release.format("kubernetes-sigs/gateway-api", f"{gateway}/standard-install.yaml")),
        # Its experimental copy of the same CRDs is refused by the upgrade policy of the standard ones.
        Step(name="envoy-gateway", elsewhere=(GATEWAY_GROUP, EXPERIMENTS),
             waits=(("envoy-gateway-system", DEPLOYMENTS),),
             source=release.format("envoyproxy/gateway", f"{envoy}/install.yaml")),
        Step(name="pipelines-crds", kustomized=True, source=kfp.format("cluster-scoped-resources")),
        Step(name="pipelines", kustomized=True, source=kfp.format("env/platform-agnostic"),
             waits=(("kubeflow", DEPLOYMENTS),)),
        Step(name="kserve", namespace="kserve", source=f"{kserve}/kserve.yaml", waits=(("kserve", DEPLOYMENTS),)),
        Step(name="trainer", kustomized=True, waits=(("kubeflow-system", DEPLOYMENTS),),
             source=f"https://github.com/kubeflow/trainer.git/manifests/overlays/manager?ref={pinned['TRAINER']}"),
    ]  # fmt: skip


def own_steps() -> list[Step]:
    """Our manifests, after the platform's controllers and webhooks answer."""
    folders = ("cluster", "storage-initializer", "overlays/kind", "overlays/kind/kubeflow")
    return [Step(name=folder, kustomized=True, source=str(MANIFESTS / folder)) for folder in folders]


def passes(documents: Iterable[Manifest]) -> list[list[Manifest]]:
    """Kinds and namespaces, then what is of them, then webhooks, which would judge it before anybody answers."""
    found: tuple[list[Manifest], ...] = ([], [], [])
    for one in documents:
        early = one["kind"] in ("CustomResourceDefinition", "Namespace")
        found[0 if early else 2 if one["kind"].endswith("WebhookConfiguration") else 1].append(one)
    return [one for one in found if one]


def apply(step: Step, context: str, tell: Callable[[str], None]) -> None:
    """Apply a step server-side and wait for what the next one needs; safe to repeat.

    Raises:
        ServingError: a source cannot be read, or the cluster refused it five times.
    """
    tell(f"{step.name}: {step.source}")
    run = functools.partial(_kubectl, "--context", context)
    documents = step.documents(fetched)
    if step.namespace:
        documents.insert(0, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": step.namespace}})
    for part in passes(documents):
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": part})
        # Server-side, because KServe's CRDs are too large for the annotation that a client-side apply writes.
        _patiently(step.name, lambda given=given: run("apply", "--server-side", "--force-conflicts", "-f", "-",
                                                      given=given), tell)  # fmt: skip
        kinds = [f"crd/{one['metadata']['name']}" for one in part if one["kind"] == "CustomResourceDefinition"]
        if kinds:
            run("wait", "--for=condition=established", "--timeout=120s", *kinds)
    for namespace, words in step.waits:
        run("-n", namespace, "wait", *words.split())


def fetched(step: Step) -> str:
    """The YAML of a step's source."""
    if step.kustomized:
        return _kubectl("kustomize", step.source)
    try:
        return httpx.get(step.source, follow_redirects=True, timeout=60).raise_for_status().text
    except httpx.HTTPError as error:
        raise ServingError(f"{step.source}: {error}", "check the network and the version in versions.env") from error


def _belongs(one: Manifest, group: str) -> bool:
    """Whether an object is a CRD of a group, or the policy that guards the group's upgrades."""
    name = one["metadata"]["name"]
    if one["kind"] == "CustomResourceDefinition":
        return one["spec"]["group"] == group
    return one["kind"].startswith("ValidatingAdmissionPolicy") and name.endswith(group)


def _patiently(name: str, action: Callable[[], object], tell: Callable[[str], None]) -> None:
    """Try again: a webhook of an earlier step may still be starting."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            action()
            return
        except ServingError as error:
            if attempt == _ATTEMPTS:
                raise
            tell(f"{name}: attempt {attempt} of {_ATTEMPTS} failed, the next in {_PAUSE_S:.0f} s: {error.headline}")
            time.sleep(_PAUSE_S)


def _kubectl(*words: str, given: str = "") -> str:
    try:
        done = subprocess.run(["kubectl", *words], input=given, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise InputError("kubectl is not on the PATH", "install kubectl >= 1.34") from error
    if done.returncode:
        raise ServingError(f"`kubectl {' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()[-500:]}",
                           "fix that error and run the command again")  # fmt: skip
    return done.stdout
