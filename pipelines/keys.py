"""The signing key of a cluster: one pair, as a Secret for the step that signs and a ConfigMap for all that verify."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from components.shared.errors import ClusterError, InputError
from components.shared.release.signing import PRIVATE_FILE, load_key, private_pem, public_pem
from components.shared.storage import PRIVATE, write_text
from pipelines.resources import KEY_NAME

SECRET_YAML, CONFIG_MAP_YAML = "secret.yaml", "config-map.yaml"
_LABELS = {"app.kubernetes.io/part-of": "shoprank"}


def new_key(existing: Path | None = None) -> Ed25519PrivateKey:
    """A new private key, or the existing one of a file.

    Raises:
        InputError: the file is no Ed25519 private key.
    """
    return load_key(existing) if existing else Ed25519PrivateKey.generate()


def secret(key: Ed25519PrivateKey, namespace: str = "") -> dict[str, Any]:
    """Secret with both halves: steps that do not sign are given the public one of it, to compare."""
    halves = {PRIVATE_FILE: private_pem(key), f"{PRIVATE_FILE}.pub": public_pem(key.public_key())}
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": _metadata(namespace), "type": "Opaque",
        "data": {name: base64.b64encode(pem).decode() for name, pem in halves.items()},
    }  # fmt: skip


def config_map(key: Ed25519PrivateKey, namespace: str = "") -> dict[str, Any]:
    """ConfigMap with the public half, which evaluation and predictors trust."""
    pem = public_pem(key.public_key()).decode()
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(namespace),
        "data": {f"{PRIVATE_FILE}.pub": pem},
    }  # fmt: skip


def write(key: Ed25519PrivateKey, folder: Path, namespace: str = "") -> None:
    """Write both as YAML; the Secret's file has mode 0600.

    Raises:
        InputError: one of the files exists, or the folder cannot be written.
    """
    for name in (SECRET_YAML, CONFIG_MAP_YAML):
        if (folder / name).exists():
            raise InputError(f"{folder / name} exists", "choose another folder; predictors trust the key of that file")
    write_text(folder / SECRET_YAML, yaml.safe_dump(secret(key, namespace)), PRIVATE)
    write_text(folder / CONFIG_MAP_YAML, yaml.safe_dump(config_map(key, namespace)))


def apply(key: Ed25519PrivateKey, namespace: str, serving: str = "", context: str = "") -> None:
    """Create Secret and ConfigMap with kubectl; the private key is on no disk and in no argument.

    Args:
        key: The key.
        namespace: Of the pipelines.
        serving: Of the predictors, which gets the ConfigMap too; '' or the same: only `namespace`.
        context: Of the kubeconfig; '': the current one.

    Raises:
        InputError: one of them exists, or kubectl is not installed.
        ClusterError: kubectl failed.
    """
    documents = [secret(key, namespace), config_map(key, namespace)]
    documents += [config_map(key, serving)] if serving not in ("", namespace) else []
    text = yaml.safe_dump_all(documents)
    # All or nothing: of two objects that do not belong together no predictor starts.
    _kubectl(text, context, "--dry-run=server")
    _kubectl(text, context)


def _kubectl(text: str, context: str, *words: str) -> None:
    command = ["kubectl", *(["--context", context] if context else []), "create", *words, "-f", "-"]
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
    except FileNotFoundError as error:
        raise InputError("kubectl is not installed", "install it, or write the files: --out FOLDER") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError("kubectl had no answer within 120 s", "check the kubeconfig's server") from error
    if done.returncode == 0:
        return
    first = (done.stderr.strip().splitlines() or [f"kubectl ended with {done.returncode}"])[0]
    if "already exists" in done.stderr or "AlreadyExists" in done.stderr:
        raise InputError(
            f"{KEY_NAME} exists: {first}",
            f"use it, or delete it for a new pair: kubectl -n NAMESPACE delete secret,configmap {KEY_NAME} (bundles of "
            "the old key are then refused)",
        )
    raise ClusterError(f"kubectl create failed: {first}", "check the context, the namespace and your rights there")


def _metadata(namespace: str) -> dict[str, Any]:
    return {"name": KEY_NAME, "labels": _LABELS, **({"namespace": namespace} if namespace else {})}
