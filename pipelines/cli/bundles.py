"""`shoprank bundle` and `shoprank audit`: bundles for other stores, and the log of every change."""

from pathlib import Path
from typing import Annotated

import typer

from components.shared.errors import InputError
from components.shared.release.audit import AuditLog
from components.shared.release.registry import Registry
from pipelines.cli.console import console

bundle = typer.Typer(no_args_is_help=True, help="Encrypt a bundle, or write it as an OCI image.")
audit = typer.Typer(no_args_is_help=True, help="Read and check the log of every registry change, deploy and rollback.")

Source = Annotated[Path, typer.Argument(help="folder of a bundle")]
Target = Annotated[Path, typer.Argument(help="folder to write")]
Key = Annotated[Path, typer.Option("--key", help="JWK file (shoprank bundle key)")]
Out = Annotated[Path, typer.Option("--out", help="output folder that holds registry/")]
Model = Annotated[str, typer.Option(help="name in the registry")]


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
    out: Out = Path("out"), model_name: Model = "shop",
    head: Annotated[str, typer.Option(help="hash of the last line, from a copy kept elsewhere")] = "",
) -> None:  # fmt: skip
    """Check the whole chain; a changed, removed, added or reordered line is named."""
    lines = _log(out, model_name).verify(head)
    console.print(f"{lines} lines, unbroken", highlight=False)


@audit.command("log")
def log_(out: Out = Path("out"), model_name: Model = "shop") -> None:
    """Print every entry, oldest first."""
    for entry in _log(out, model_name).entries():
        facts = {key: value for key, value in entry.items()
                 if key not in ("seq", "when", "who", "action", "previous", "hash")}  # fmt: skip
        told = " ".join(f"{key}={value}" for key, value in facts.items())
        console.print(f"{entry['when']} {entry['who']} {entry['action']} {told}", highlight=False, soft_wrap=True)


def _log(out: Path, model: str) -> AuditLog:
    registry = Registry(out / "registry")
    log = registry.audit(model)
    if not log.path.exists():
        raise InputError(f"{log.path} does not exist", "name the output folder and the model (--out, --model-name)")
    return log
