"""The CRDs, rights and webhooks of each part, from the Go modules that its program is built from.

Controllers run beside the API server, so their Deployments are left out and webhooks are called by URL.
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.platform.certificates import encoded
from tests.cluster.platform.layout import SOURCES, cache
from tests.cluster.platform.programs import binary, module

Manifest = dict[str, Any]

PARTS = ("gateway-api", "envoy-gateway", "knative", "kserve", "jobset", "trainer")

_KEPT_S = 86_400
"""Seconds after which rendered objects of another state of the sources are removed."""

INITIALIZER = "initializer-entrypoint"
"""The script of KServe's image that downloads a model into a pod."""

# Programs that run beside the API server, what only cert-manager reads, and KServe's parts for language models and
# node-local copies, which have controllers of their own.
_LEFT_OUT_KINDS = ("Deployment", "DaemonSet", "Certificate", "Issuer", "Secret")
_LEFT_OUT_NAMES = ("llm", "localmodel", "inferencepool", "inferencemodel", "inferenceobjective")


def rendered(part: str) -> Path:
    """File with the objects of a part, a List in JSON."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for source in sorted(SOURCES.glob("*/go.mod")):
        digest.update(source.read_bytes())
    return cache() / f"manifests-{digest.hexdigest()[:12]}" / f"{part}.json"


def initializer() -> Path:
    """KServe's script in the cache."""
    return rendered(PARTS[0]).with_name(INITIALIZER)


def render() -> None:
    """Write the objects of every part into the cache, once."""
    folder = rendered(PARTS[0]).parent
    if folder.exists():
        return
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    sources = {
        "gateway-api": _documents(module("envoy-gateway", "sigs.k8s.io/gateway-api") / "config/crd/standard"),
        "envoy-gateway": _documents(
            module("envoy-gateway", "github.com/envoyproxy/gateway") / "charts/gateway-crds-helm/templates/generated"
        ),
        # The kind alone, which KServe writes in Knative mode; nothing makes pods of it.
        "knative": _documents(
            module("kserve", "knative.dev/serving") / "config" / "core" / "300-resources" / "service.yaml"
        ),
        "kserve": _documents(module("kserve", "github.com/kserve/kserve") / "install/v0.20.0/kserve.yaml"),
        "jobset": _kustomized(module("jobset", "sigs.k8s.io/jobset") / "config/default"),
        "trainer": _trainer(module("trainer", "github.com/kubeflow/trainer/v2") / "manifests"),
    }
    for part, objects in sources.items():
        kept = [_alone(one) for one in objects if not _left_out(one)]
        (partial / f"{part}.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": kept}))
    script = module("kserve", "github.com/kserve/kserve") / "python/storage-initializer/scripts" / INITIALIZER
    shutil.copyfile(script, partial / INITIALIZER)
    for old in folder.parent.glob("manifests-*"):
        # A platform that runs uses its own.
        if old.stat().st_mtime < time.time() - _KEPT_S:
            shutil.rmtree(old)
    partial.rename(folder)


def objects(part: str, webhooks: str, ca: Path) -> list[Manifest]:
    """The objects of a part, with the address of its webhooks.

    Args:
        part: One of PARTS.
        webhooks: `https://ADDRESS:PORT` of the part's controller.
        ca: Certificate of the authority that signed the controller's.
    """
    items = json.loads(rendered(part).read_text())["items"]
    for one in items:
        for hook in one.get("webhooks", []):
            path = hook["clientConfig"]["service"]["path"]
            hook["clientConfig"] = {"url": f"{webhooks}{path}", "caBundle": encoded(ca)}
            if hook["name"] == "mpod.kb.io":
                # Else JobSet would be asked for every pod of the cluster.
                hook["objectSelector"] = {
                    "matchExpressions": [{"key": "jobset.sigs.k8s.io/jobset-name", "operator": "Exists"}]
                }
    return items


def _left_out(one: Manifest) -> bool:
    name = one["metadata"]["name"]
    return one["kind"] in _LEFT_OUT_KINDS or any(word in name for word in _LEFT_OUT_NAMES)


def _alone(one: Manifest) -> Manifest:
    """Without what another program would have to do: conversion webhooks of CRDs."""
    if one["kind"] == "CustomResourceDefinition":
        one["spec"].pop("conversion", None)
        one.pop("status", None)
    return one


def _documents(path: Path) -> list[Manifest]:
    found: list[Manifest] = []
    for file in sorted(path.glob("*.yaml")) if path.is_dir() else [path]:
        # Envoy Gateway's lie in a Helm chart, between two lines of Helm.
        text = "\n".join(line for line in file.read_text().splitlines() if not line.startswith("{{"))
        found += [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]
    return found


def _kustomized(folder: Path) -> list[Manifest]:
    command = [binary("kubernetes"), "kubectl", "kustomize", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(yaml.load_all(done.stdout, yaml.CSafeLoader))


def _trainer(manifests: Path) -> Iterable[Manifest]:
    """The bases one by one: the overlay brings JobSet, from its repository."""
    namespace = "kubeflow-system"
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    for base in ("crds", "rbac", "webhook"):
        for one in _kustomized(manifests / "base" / base):
            if one["kind"] in ("ServiceAccount", "Role", "RoleBinding"):
                one["metadata"]["namespace"] = namespace
            for subject in one.get("subjects", []):
                if subject["kind"] == "ServiceAccount":
                    subject["namespace"] = namespace
            yield one
