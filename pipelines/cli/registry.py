"""`shoprank promote`, `rollback`, `registry`, `bundle` and `audit`: champions, versions, bundles and the audit log."""

import time
from pathlib import Path
from typing import Annotated

import typer

from components.shared.errors import InputError
from components.shared.release.audit import OWN_FIELDS, AuditLog
from components.shared.release.config import VOLUME
from components.shared.release.registry import Registry, Root
from components.shared.wording import counted
from pipelines.cli.console import console
from pipelines.cli.parameters import Json, ModelName, Out, emit, existing_registry

bundle = typer.Typer(no_args_is_help=True, help="Encrypt a bundle or export it as an OCI image.")
audit = typer.Typer(
    no_args_is_help=True, help="Read and verify the log of registry changes, deployments and rollbacks."
)

Source = Annotated[Path, typer.Argument(help="folder of a bundle")]
Target = Annotated[Path, typer.Argument(help="folder to write")]
Key = Annotated[Path, typer.Option("--key", help="JWK file (shoprank bundle key)")]


versions = typer.Typer(no_args_is_help=True, help="Look after the versions of a registry.")

Where = Annotated[str, typer.Option("--registry", help="Folder or s3:// URI; empty: OUT/registry.")]


def promote(
    version: Annotated[str, typer.Argument(help="A registered version, or `candidate`.")] = "candidate",
    out: Out = Path("out"),
    model_name: ModelName = "shop",
    registry: Where = "",
    as_json: Json = False,
) -> None:
    """Make a version the registry's champion; the previous one is kept for rollback. Cluster traffic is unchanged."""
    found = Registry(existing_registry(out, registry))
    chosen = found.version_of(f"{model_name}/{version}")
    found.promote(model_name, chosen)
    if as_json:
        return emit({"champion": chosen})
    console.print(f"champion is {chosen}")


def rollback(
    out: Out = Path("out"),
    model_name: ModelName = "shop",
    service: Annotated[str, typer.Option(help="InferenceService to roll back; empty: only the registry.")] = "",
    namespace: Annotated[str, typer.Option(help="Namespace of the service; empty: the context's.")] = "",
    context: Annotated[str, typer.Option("--kube-context", help="kubeconfig context.")] = "",
    storage: Annotated[str, typer.Option(help="URI under which KServe reads the registry.")] = VOLUME,
    mode: Annotated[str, typer.Option(help="KServe's deployment mode.")] = "Standard",
    url: Annotated[str, typer.Option(help="Address of the service; empty: the URL in its status.")] = "",
    registry: Where = "",
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
        named = kserve_target(model_name, ReleaseOptions.read(given, ""), registry)
        target = dataclasses.replace(named, context=context, url=url)
    done = back(existing_registry(out, registry), model_name, "kserve" if service else "local", target)
    if as_json:
        return emit({"champion": done.version, "previous": done.previous})
    console.print(f"champion is {done.version} again ({time.monotonic() - started:.2f} s)")


@versions.command("gc")
def gc_(
    keep: Annotated[int, typer.Option(help="Number of newest versions to keep, beside those in use.")],
    apply: Annotated[bool, typer.Option("--apply", help="Remove them; without it they are only listed.")] = False,
    out: Out = Path("out"),
    model_name: ModelName = "shop",
    registry: Where = "",
    as_json: Json = False,
) -> None:
    """Remove old versions; champion, candidate, previous and the versions of an open rollout stay."""
    from components.shared.release.collection import collect, planned

    found = Registry(existing_registry(out, registry))
    done = (collect if apply else planned)(found, model_name, keep)
    if as_json:
        return emit({"kept": done.kept, "removed": list(done.removed), "bytes": done.size, "applied": apply})
    for version, why in done.kept.items():
        console.print(f"{version} stays: {why}", highlight=False)
    for version in done.removed:
        console.print(f"{version} {'removed' if apply else 'would be removed'}", highlight=False)
    total = f"{counted(len(done.removed), 'version')}, {done.size / 1e6:.1f} MB"
    console.print(f"{total} removed" if apply else f"{total}; remove them with --apply", highlight=False)


@bundle.command("key")
def key_(path: Annotated[Path, typer.Argument(help="file to write")]) -> None:
    """Create a key for encrypting bundles."""
    from components.shared.release.encryption import create_key

    create_key(path)
    console.print(f"{path} written (mode 0600)")


@bundle.command("encrypt")
def encrypt_(source: Source, target: Target, key: Key) -> None:
    """Encrypt every file as JWE, which KServe's storage initializer decrypts with the same key."""
    from components.shared.release.bundle import verify
    from components.shared.release.encryption import encrypt, load_key

    verify(source, None)
    console.print(f"{target}: {counted(encrypt(source, target, load_key(key)), 'file')}")


@bundle.command("decrypt")
def decrypt_(source: Source, target: Target, key: Key) -> None:
    """Decrypt a bundle and verify its files."""
    from components.shared.release.bundle import verify
    from components.shared.release.encryption import decrypt, load_key

    count = decrypt(source, target, load_key(key))
    console.print(f"{target}: {counted(count, 'file')}, version {verify(target, None).version}")


@bundle.command("oci")
def oci_(source: Source, target: Target) -> None:
    """Write an OCI image layout; push it with a client such as skopeo and serve it as oci://."""
    from components.shared.release.oci_layout import write_layout

    console.print(f"{target}: {write_layout(source, target)}", soft_wrap=True)


@audit.command("verify")
def verify_(
    out: Out = Path("out"), model_name: ModelName = "shop", registry: Where = "",
    head: Annotated[str, typer.Option(help="Expected hash of the last line, from a separately kept copy.")] = "",
    as_json: Json = False,
) -> None:  # fmt: skip
    """Verify the hash chain; an error names the first changed, removed, added or reordered line."""
    lines = _log(existing_registry(out, registry), model_name).verify(head)
    if as_json:
        return emit({"lines": lines})
    console.print(f"{counted(lines, 'line')} verified", highlight=False)


@audit.command("log")
def log_(
    out: Out = Path("out"), model_name: ModelName = "shop", registry: Where = "", as_json: Json = False
) -> None:  # fmt: skip
    """Print every entry, oldest first."""
    entries = _log(existing_registry(out, registry), model_name).entries()
    if as_json:
        return emit(entries)
    for entry in entries:
        facts = {key: value for key, value in entry.items() if key not in OWN_FIELDS}
        shown = " ".join(f"{key}={value}" for key, value in facts.items())
        console.print(f"{entry['when']} {entry['who']} {entry['action']} {shown}", highlight=False, soft_wrap=True)


def _log(root: Root, model: str) -> AuditLog:
    log = Registry(root).audit(model)
    if not log.entries():
        raise InputError(
            f"{log.location} does not exist", "give the registry (--registry, or --out) and the model (--model-name)"
        )
    return log
