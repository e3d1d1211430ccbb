"""The signing key of a cluster: one pair, as a Secret for the step that signs and a ConfigMap for all that verify."""

import base64
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from components.shared.errors import InputError
from components.shared.release.signing import PRIVATE_FILE, load_key, private_pem, public_pem
from components.shared.storage import PRIVATE, write_text
from pipelines import kubectl
from pipelines.installing import check_namespaces
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
        ClusterError: a namespace does not exist, or kubectl failed.
    """
    documents = [secret(key, namespace), config_map(key, namespace)]
    documents += [config_map(key, serving)] if serving not in ("", namespace) else []
    text = yaml.safe_dump_all(documents)
    # All or nothing: of two objects that do not belong together no predictor starts.
    for words in (["--dry-run=server"], []):
        done = kubectl.run("create", *words, "-f", "-", given=text, context=context)
        if done.returncode and "already exists" in done.stderr:
            raise _exists(namespace, serving or namespace, context)
        if done.returncode:
            check_namespaces([namespace, serving or namespace], context)
            raise kubectl.failed(done, "kubectl create")


def _exists(namespace: str, serving: str, context: str) -> InputError:
    """The error that names what exists, and where."""
    private = kubectl.existing(("secret",), KEY_NAME, namespace, context)
    public = [one for one in dict.fromkeys((namespace, serving))
              if kubectl.existing(("configmap",), KEY_NAME, one, context)]  # fmt: skip
    named = [f"Secret {KEY_NAME} in {namespace}"] if private else []
    named += [f"ConfigMap {KEY_NAME} in {one}" for one in public]
    if not named:
        return InputError(
            f"Secret or ConfigMap {KEY_NAME} exists in {namespace} or {serving}",
            f"ask somebody who may read them there:\nkubectl -n {namespace} get secret,configmap {KEY_NAME}",
        )
    removal = [f"kubectl -n {one} delete configmap {KEY_NAME}" for one in public]
    if not private:
        return InputError(
            f"{' and '.join(named)} of another pair exists, without its Secret",
            "delete what is left, then run the command again; bundles of the old key are then refused, unless you give "
            "its private key (--key FILE):\n" + "\n".join(removal),
        )
    lacks = [one for one in dict.fromkeys((namespace, serving)) if one not in public]
    use = ["keep the pair; for the ConfigMap that is missing:", *public_key_commands(namespace, *lacks)]
    return InputError(
        f"{' and '.join(named)} {'exists' if len(named) == 1 else 'exist'}",
        "\n".join([*(use if lacks else ["keep the pair; nothing is missing"]),
                   "or make a new pair, and bundles of the old key are refused; save the private key first:",
                   *save_and_delete(namespace), *removal]),
    )  # fmt: skip


def public_key_commands(namespace: str, *places: str) -> list[str]:
    """Commands that make the ConfigMaps of a Secret's public key, or replace what they hold."""
    read = f"-n {namespace} get secret {KEY_NAME} -o 'jsonpath={{.data.signing\\.pem\\.pub}}'"
    make = f"create configmap {KEY_NAME} --from-file={PRIVATE_FILE}.pub --dry-run=client -o yaml"
    return [f"kubectl {read} | base64 -d > {PRIVATE_FILE}.pub",
            *(f"kubectl -n {one} {make} | kubectl -n {one} apply -f -" for one in places)]  # fmt: skip


def save_and_delete(namespace: str) -> list[str]:
    """Commands that save the Secret, which alone holds the private key, and delete it."""
    return [f"kubectl -n {namespace} get secret {KEY_NAME} -o yaml > FILE",
            f"kubectl -n {namespace} delete secret {KEY_NAME}"]  # fmt: skip


def _metadata(namespace: str) -> dict[str, Any]:
    return {"name": KEY_NAME, "labels": _LABELS, **({"namespace": namespace} if namespace else {})}
