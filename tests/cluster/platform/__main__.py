"""`python -m tests.cluster.platform build | up | status | down`."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tests.cluster.platform import client, supervisor
from tests.cluster.platform.layout import Network

app = typer.Typer(no_args_is_help=True, help="A real Kubernetes with KServe, Trainer and JobSet for tests.")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@app.command()
def build() -> None:
    """Build the programs into the cache; `up` does so too."""
    lack = client.lacks()
    if lack:
        _tell(f"no Kubernetes for tests, which are skipped: {lack}")
        return
    client.prepare(_tell)


@app.command()
def up() -> None:
    """Start the platform and leave it running."""
    started = time.monotonic()
    try:
        platform = client.up(_tell)
    except client.Unavailable as error:
        _tell(str(error))
        raise typer.Exit(1) from error
    pods = "with pods" if platform.has_node else f"without pods ({client.node_possible()})"
    _tell(f"up after {time.monotonic() - started:.0f} s, {pods}: export KUBECONFIG={platform.kubeconfig}")


@app.command()
def status() -> None:
    """Print what runs as JSON."""
    print(json.dumps(client.status(), indent=1))


@app.command()
def down() -> None:
    """End the platform, and remove what a killed one left."""
    _tell("down" if client.down() else "it was not up")


@app.command(hidden=True)
def supervise(folder: Path, network: str, keep: Annotated[str, typer.Argument()] = "") -> None:
    """Run the platform; started by `up` and by tests."""
    raise typer.Exit(supervisor.launch(folder, Network(int(network)) if network else None, bool(keep)))


if __name__ == "__main__":
    app()
