"""`shoprank promote`, `rollback`, `bundle` and `audit`: the serving version, bundles elsewhere, the audit log."""

import time
from pathlib import Path
from typing import Annotated

import typer

from components.shared.errors import InputError
from components.shared.release.audit import AuditLog
from components.shared.release.registry import Registry
from pipelines.cli.console import console
from pipelines.cli.parameters import Json, ModelName, Out, emit

bundle = typer.Typer(no_args_is_help=True, help="Encrypt a bundle, or write it as an OCI image.")
audit = typer.Typer(no_args_is_help=True, help="Read and check the log of every registry change, deploy and rollback.")

Source = Annotated[Path, typer.Argument(help="folder of a bundle")]
Target = Annotated[Path, typer.Argument(help="folder to write")]
Key = Annotated[Path, typer.Option("--key", help="JWK file (shoprank bundle key)")]


STORAGE = "pvc://shoprank-registry/registry"


def promote(
    version: Annotated[str, typer.Argument(help="A version of the registry, or candidate.")] = "candidate",
    out: Out = Path("out"),
    model_name: ModelName = "shop",
    as_json: Json = False,
) -> None:
    """Make a version the champion of the registry and remember the one before. A cluster's traffic does not move."""
    registry = Registry(out / "registry")
    chosen = registry.resolve(f"{model_name}/{version}").name
    registry.promote(model_name, chosen)
    if as_json:
        return emit({"champion": chosen})
    console.print(f"champion is {chosen}")


def rollback(
    out: Out = Path("out"),
    model_name: ModelName = "shop",
    service: Annotated[str, typer.Option(help="InferenceService to roll back; empty: the registry alone.")] = "",
    namespace: Annotated[str, typer.Option(help="Its namespace; empty: that of the context.")] = "",
    context: Annotated[str, typer.Option("--kube-context", help="Context of the kubeconfig.")] = "",
    storage: Annotated[str, typer.Option(help="URI of the registry as KServe reads it.")] = STORAGE,
    mode: Annotated[str, typer.Option(help="KServe's deployment mode.")] = "Standard",
    url: Annotated[str, typer.Option(help="Address of the service from here; empty: the one of its status.")] = "",
    as_json: Json = False,
) -> None:
    """Serve the previous champion again: weights, indexes, feature spec and thresholds together."""
    import dataclasses

    from components.deploy_model.deploy import kserve_target
    from components.deploy_model.deploy import rollback as back
    from components.shared.release.config import ReleaseOptions

    started, target = time.monotonic(), None
    if service:
        given = {"service": service, "namespace": namespace, "storage": storage, "mode": mode}
        named = kserve_target(model_name, ReleaseOptions.read(given, ""))
        target = dataclasses.replace(named, context=context, url=url)
    done = back(out / "registry", model_name, "kserve" if service else "local", target)
    if as_json:
        return emit({"champion": done.version, "previous": done.previous})
    console.print(f"champion is {done.version} again ({time.monotonic() - started:.2f} s)")


@bundle.command("key")
def key_(path: Annotated[Path, typer.Argument(help="file to write")]) -> None:
    """Make a key that encrypts bundles."""
    from components.shared.release.encryption import create_key

    create_key(path)
    console.print(f"{path} written (mode 0600)")


@bundle.command("encrypt")
def encrypt_(source: Source, target: Target, key: Key) -> None:
    """Encrypt every file as JWE, which KServe's storage initializer decrypts with the same key."""
    from components.shared.release.bundle import verify
    from components.shared.release.encryption import encrypt, load_key

    verify(source, None)
    console.print(f"{target}: {encrypt(source, target, load_key(key))} files")


@bundle.command("decrypt")
def decrypt_(source: Source, target: Target, key: Key) -> None:
    """Take the encryption off again and check that the bundle is whole."""
    from components.shared.release.bundle import verify
    from components.shared.release.encryption import decrypt, load_key

    count = decrypt(source, target, load_key(key))
    console.print(f"{target}: {count} files, version {verify(target, None).version}")


@bundle.command("oci")
def oci_(source: Source, target: Target) -> None:
    """Write an OCI image layout; push it with a client such as skopeo and serve it as oci://."""
    from components.shared.release.oci_layout import write_layout

    console.print(f"{target}: {write_layout(source, target)}", soft_wrap=True)


@audit.command("verify")
def verify_(
    out: Out = Path("out"), model_name: ModelName = "shop",
    head: Annotated[str, typer.Option(help="Hash of the last line, from a copy kept elsewhere.")] = "",
    as_json: Json = False,
) -> None:  # fmt: skip
    """Check the whole chain; a changed, removed, added or reordered line is named."""
    lines = _log(out, model_name).verify(head)
    if as_json:
        return emit({"lines": lines})
    console.print(f"{lines} lines, unbroken", highlight=False)


@audit.command("log")
def log_(out: Out = Path("out"), model_name: ModelName = "shop", as_json: Json = False) -> None:
    """Print every entry, oldest first."""
    if as_json:
        return emit(list(_log(out, model_name).entries()))
    for entry in _log(out, model_name).entries():
        facts = {key: value for key, value in entry.items()
                 if key not in ("seq", "when", "who", "action", "previous", "hash")}  # fmt: skip
        shown = " ".join(f"{key}={value}" for key, value in facts.items())
        console.print(f"{entry['when']} {entry['who']} {entry['action']} {shown}", highlight=False, soft_wrap=True)


def _log(out: Path, model: str) -> AuditLog:
    registry = Registry(out / "registry")
    log = registry.audit(model)
    if not log.path.exists():
        raise InputError(f"{log.path} does not exist", "name the output folder and the model (--out, --model-name)")
    return log
