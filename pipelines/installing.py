"""What a run needs in the user's own namespaces: the kustomize components of manifests/, rendered or applied."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.errors import ClusterError, InputError
from components.shared.object_names import check_object_names
from pipelines import kubectl

MANIFESTS = Path(__file__).parents[1] / "manifests"
STEPS_ACCOUNT = "pipeline-runner"
"""Service account of the steps in KFP's own namespace, unless a run names another."""
PROFILE_ACCOUNT = "default-editor"
"""That of the steps in a profile."""
TRAINING_ROLE, SERVING_ROLE = "shoprank-training", "shoprank-serving"
"""Roles and their bindings, of manifests/components."""

Kustomization = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Installation:
    """Where a run's steps run and where they deploy."""

    namespace: str
    """Namespace of the pipeline's steps and of the TrainJobs that they start."""
    serving_namespace: str
    """Namespace of the InferenceService."""
    service_account: str = STEPS_ACCOUNT
    """Service account of the steps."""
    public_key: Path | None = None
    """PEM file whose bundles predictors accept; without one the ConfigMap stays as it is."""

    def check(self) -> None:
        """Check the values.

        Raises:
            InputError: a name is invalid, or the key cannot be read.
        """
        check_object_names(
            namespace=self.namespace, serving_namespace=self.serving_namespace, service_account=self.service_account
        )
        if self.public_key and "BEGIN PUBLIC KEY" not in _text(self.public_key):
            raise InputError(
                f"--public-key {self.public_key} holds no public key", "give the file signing.pem.pub of the registry"
            )

    def kustomizations(self) -> list[Kustomization]:
        """One kustomization for each namespace; paths are those in manifests/."""
        training = {
            "namespace": self.namespace,
            "components": ["components/training-rights", "components/training-network"],
            "patches": [self._subject(TRAINING_ROLE)],
        }
        asks = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}}}
        serving = {
            "namespace": self.serving_namespace,
            "resources": ["base"],
            "components": ["components/serving-rights"],
            "patches": [
                self._subject(SERVING_ROLE),
                _patch("NetworkPolicy", "shoprank-predictor-steps", ("replace", "/spec/ingress/0/from/0", asks)),
            ],
        }
        if self.public_key:
            text = _text(self.public_key)
            serving["components"].append("components/signing-key")
            serving["patches"].append(
                _patch("ConfigMap", "shoprank-signing-key", ("replace", "/data/signing.pem.pub", text))
            )
        if self.namespace == self.serving_namespace:
            return [{**serving, **{part: training[part] + serving[part] for part in ("components", "patches")}}]
        training["components"].append("components/registry-volume")
        return [training, serving]

    def _subject(self, binding: str) -> Kustomization:
        subject = {"kind": "ServiceAccount", "name": self.service_account, "namespace": self.namespace}
        return _patch("RoleBinding", binding, ("replace", "/subjects/0", subject))


def render(installation: Installation) -> str:
    """Render everything as YAML.

    Raises:
        InputError: a name or key is invalid, kubectl is missing, or this is not a checkout.
    """
    installation.check()
    if not MANIFESTS.is_dir():
        raise InputError(f"{MANIFESTS} does not exist", "run it in a checkout: the wheel holds no manifests")
    return "---\n".join(_kustomize(one) for one in installation.kustomizations())


def apply(installation: Installation, context: str = "") -> str:
    """Apply everything server-side and return what kubectl prints.

    Raises:
        InputError: see `render`.
        ClusterError: a namespace does not exist, and then nothing is applied; or the cluster refused it.
    """
    text = render(installation)
    check_namespaces([installation.namespace, installation.serving_namespace], context)
    done = kubectl.run(
        "apply", "--server-side", "--field-manager=shoprank-install", "-f", "-", given=text, context=context
    )
    if done.returncode:
        raise kubectl.failed(done, "kubectl apply")
    return done.stdout


def check_namespaces(names: list[str], context: str = "") -> None:
    """Check that all namespaces exist, before something is made in the first.

    Raises:
        InputError: kubectl is not installed.
        ClusterError: one does not exist, or the cluster cannot be reached.
    """
    absent = kubectl.absent_namespaces(list(dict.fromkeys(names)), context)
    if absent:
        raise ClusterError(
            f"the cluster has no namespace {' and no '.join(absent)}; nothing was applied",
            "create it first:\n" + "\n".join(f"kubectl create namespace {one}" for one in absent),
        )


def _kustomize(parts: Kustomization) -> str:
    with tempfile.TemporaryDirectory() as made:
        # Kustomize takes no absolute paths.
        folder = Path(made).resolve()
        up = os.path.relpath(MANIFESTS.resolve(), folder)
        paths = {part: [f"{up}/{one}" for one in parts[part]] for part in ("resources", "components") if part in parts}
        (folder / "kustomization.yaml").write_text(
            json.dumps(parts | paths | {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"})
        )
        done = kubectl.run("kustomize", str(folder))
    if done.returncode:
        raise InputError(f"kubectl kustomize failed: {done.stderr.strip()[-500:]}", "use kubectl >= 1.27")
    return done.stdout


def _patch(kind: str, name: str, *operations: tuple[str, str, Any]) -> Kustomization:
    """A JSON patch (RFC 6902) of one object."""
    words = [{"op": op, "path": path, "value": value} for op, path, value in operations]
    return {"target": {"kind": kind, "name": name}, "patch": json.dumps(words)}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--public-key {path} cannot be read: {error}", "give a PEM file") from error
