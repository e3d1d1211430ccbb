"""`shoprank keys`: the signing key of a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from components.shared.errors import InputError
from components.shared.object_names import check_object_names
from pipelines.cli.console import console

keys = typer.Typer(no_args_is_help=True, help="Make the key that signs bundles, for a cluster.")


@keys.callback()
def _keys() -> None:
    """Keep `create` a command of its own."""


@keys.command("create")
def create(
    namespace: Annotated[str, typer.Option(help="Namespace of the pipelines; empty: the context's.")] = "",
    serving_namespace: Annotated[str, typer.Option(help="Namespace of the predictors, if it is another one.")] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Create Secret and ConfigMap with kubectl.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for secret.yaml and config-map.yaml instead.")] = None,
    context: Annotated[str, typer.Option("--kube-context", help="kubeconfig context, with --apply.")] = "",
    key: Annotated[Path | None, typer.Option(help="An existing PEM private key instead of a new one.")] = None,
) -> None:
    """Make a key pair: Secret shoprank-signing-key with the private key, ConfigMap of that name with the public one."""
    from pipelines import keys as pair

    if apply == (out is not None):
        raise InputError("give either --apply or --out", "--apply creates both, --out FOLDER writes YAML")
    if apply and not namespace:
        raise InputError("--apply without --namespace", "name the namespace in which the pipelines run")
    check_object_names(optional=True, namespace=namespace, serving_namespace=serving_namespace)
    signing = pair.new_key(key)
    if out is not None:
        pair.write(signing, out, namespace)
        console.print(f"{out / pair.SECRET_YAML} (mode 0600) and {out / pair.CONFIG_MAP_YAML} written", soft_wrap=True)
        return
    pair.apply(signing, namespace, serving_namespace, context)
    further = f", the ConfigMap also in {serving_namespace}" if serving_namespace not in ("", namespace) else ""
    console.print(f"Secret and ConfigMap {pair.KEY_NAME} created in {namespace}{further}", soft_wrap=True)
