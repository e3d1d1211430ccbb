"""Where the platform keeps its files, and the addresses it uses."""

import hashlib
import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
SOURCES = Path(__file__).parent / "go"
"""A folder with go.mod and go.sum for each program."""


def cache() -> Path:
    """Folder of built programs; kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "shoprank" / "platform"


def state_folder() -> Path:
    """Folder of the platform of this checkout and user; SHOPRANK_PLATFORM names another."""
    chosen = os.environ.get("SHOPRANK_PLATFORM")
    if chosen:
        return Path(chosen).absolute()
    digest = hashlib.sha256(f"{CHECKOUT}:{os.getuid()}".encode()).hexdigest()[:8]
    # Short: the path of a Unix socket has at most 107 bytes.
    return Path("/tmp") / f"shoprank-platform-{digest}"


def kept_logs(folder: Path) -> Path:
    """Where the logs of a platform's programs lie after its end."""
    return cache() / "platforms" / f"{folder.name}.logs"


@dataclass(frozen=True)
class Network:
    """The /16 of a platform with a node: the machine keeps .0.2, the node has .0.1, Services .64.0/18, pods .128.0/17.

    Attributes:
        number: second byte of the addresses.
    """

    number: int

    @property
    def link(self) -> str:
        """Interface of the machine that leads to the node."""
        return f"shoprank{self.number}"

    @property
    def all(self) -> str:
        """Every address of the platform."""
        return f"10.{self.number}.0.0/16"

    @property
    def host(self) -> str:
        """Address of the machine, as the node sees it."""
        return f"10.{self.number}.0.2"

    @property
    def node(self) -> str:
        """Address of the node."""
        return f"10.{self.number}.0.1"

    @property
    def services(self) -> str:
        """Addresses of Services."""
        return f"10.{self.number}.64.0/18"

    @property
    def dns(self) -> str:
        """Address of the cluster's DNS Service."""
        return f"10.{self.number}.64.10"

    @property
    def pods(self) -> str:
        """Addresses of pods."""
        return f"10.{self.number}.128.0/17"


@dataclass(frozen=True)
class Layout:
    """Files of a running platform.

    Attributes:
        folder: of everything that the platform writes; removed when it ends.
        network: of the node; None without one (API server and controllers on loopback).
    """

    folder: Path
    network: Network | None

    @property
    def address(self) -> str:
        """Address on which API server, controllers and webhooks listen."""
        return self.network.node if self.network else "127.0.0.1"

    @cached_property
    def logs(self) -> Path:
        """Folder with a log of each program."""
        return self.folder / "logs"

    def kubeconfig(self, user: str = "admin") -> Path:
        """Credentials of a user of the cluster."""
        return self.folder / "kubeconfigs" / user


def is_used(number: int) -> bool:
    """Whether a route of this machine leads to a /16."""
    routes = subprocess.run(["ip", "-4", "route"], capture_output=True, text=True, check=True).stdout
    return f"10.{number}." in routes


def free_network() -> Network:
    """A /16 that no interface or route of this machine uses.

    Raises:
        RuntimeError: all of them are used.
    """
    for number in range(77, 98):
        if not is_used(number):
            return Network(number)
    raise RuntimeError("no free network between 10.77.0.0/16 and 10.97.0.0/16: end other platforms")
