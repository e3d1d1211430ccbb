"""Builds the platform's programs from pinned Go modules into the user's cache folder, each once."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.platform.layout import SOURCES, cache

_DISK_GB = 2
"""Disk that building one program takes, on average: modules, and compiled packages, which are removed at the end."""

_VERSION = "k8s.io/component-base/version"


@dataclass(frozen=True, kw_only=True)
class Program:
    """A Go program.

    Attributes:
        name: of its folder in go/, and of the built file.
        package: what is built; '.' is our own main.go.
        ldflags: further flags of the linker. tags: of the build.
        node: whether only a platform with a node needs it.
    """

    name: str
    package: str = "."
    ldflags: str = ""
    tags: str = ""
    node: bool = False


PROGRAMS = (
    # Clients refuse a server without a version.
    Program(
        name="kubernetes",
        ldflags=f"-X {_VERSION}.gitVersion=v1.36.3 -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=36",
    ),
    Program(name="etcd"),
    Program(name="kserve", package="github.com/kserve/kserve/cmd/manager"),
    # Built after KServe, from the same packages.
    Program(name="knative"),
    Program(name="trainer", package="github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager"),
    Program(name="jobset", package="sigs.k8s.io/jobset"),
    Program(name="pause", node=True),
    Program(name="coredns", node=True),
    Program(name="envoy-gateway", package="github.com/envoyproxy/gateway/cmd/envoy-gateway", node=True),
    Program(name="seaweedfs", package="github.com/seaweedfs/seaweedfs/weed", node=True),
    # Debian's is built without the discovery of pods.
    Program(
        name="prometheus", package="github.com/prometheus/prometheus/cmd/prometheus",
        tags="remove_all_sd,enable_kubernetes_sd", node=True,
    ),
)  # fmt: skip


def binary(name: str) -> Path:
    """The built file of a program; its name changes with sources and flags."""
    program = next(one for one in PROGRAMS if one.name == name)
    digest = hashlib.sha256(f"{program.package} {program.ldflags}{program.tags}".encode())
    for source in sorted((SOURCES / name).iterdir()):
        digest.update(source.read_bytes())
    return cache() / "bin" / f"{name}-{digest.hexdigest()[:12]}"


def missing(with_node: bool) -> list[Program]:
    """The programs that are not built yet."""
    return [one for one in PROGRAMS if (with_node or not one.node) and not binary(one.name).exists()]


def build(with_node: bool, tell: Callable[[str], None]) -> None:
    """Build what is missing; a second process waits for the first.

    Raises:
        RuntimeError: Go is missing, or a build failed; the message has the compiler's last lines.
    """
    _build_all(lambda: missing(with_node), tell)


def build_one(name: str, tell: Callable[[str], None]) -> Path:
    """Build one program if it is missing, and return its file.

    Raises:
        RuntimeError: Go is missing, or the build failed.
    """
    _build_all(lambda: [one for one in PROGRAMS if one.name == name and not binary(name).exists()], tell)
    return binary(name)


def _build_all(wanted: Callable[[], list[Program]], tell: Callable[[str], None]) -> None:
    folder = cache() / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        programs = wanted()
        _check_disk(folder, len(programs))
        if programs and shutil.which("go") is None:
            raise RuntimeError("Go is not installed: the platform's programs cannot be built")

        def told(program: Program) -> None:
            started = time.monotonic()
            tell(f"building {program.name}")
            _build(program)
            tell(f"built {program.name} in {time.monotonic() - started:.0f} s")

        # Two at a time: linking uses one core.
        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(told, programs))
        # Ten GB of compiled packages are of no use afterwards.
        shutil.rmtree(_compiled(), ignore_errors=True)


def _check_disk(folder: Path, programs: int) -> None:
    free, needed = shutil.disk_usage(folder).free, programs * _DISK_GB * 10**9
    if free < needed:
        raise RuntimeError(
            f"{folder} has {free / 1e9:.0f} GB free, and building {programs} programs takes up to {needed / 1e9:.0f}: "
            "free some, or set XDG_CACHE_HOME and GOMODCACHE"
        )


def _compiled() -> Path:
    """Go's build cache of these builds; the user's own stays as it is."""
    return cache() / "go-build"


def _build(program: Program) -> None:
    wanted = binary(program.name)
    partial = wanted.with_name(f".{wanted.name}.partial")
    # Static, so that a program also runs where no libraries are.
    environment = {
        **os.environ,
        "GOFLAGS": "-buildvcs=false -trimpath -mod=readonly",
        "CGO_ENABLED": "0",
        "GOWORK": "off",
        "GOCACHE": str(_compiled()),
    }
    flags = ["-ldflags", f"-s -w {program.ldflags}", "-tags", program.tags]
    command = ["go", "build", *flags, "-o", str(partial), program.package]
    done = subprocess.run(command, cwd=SOURCES / program.name, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command)}` in {SOURCES / program.name} failed: {done.stderr[-2000:]}")
    for old in wanted.parent.glob(f"{program.name}-*"):
        old.unlink()
    partial.rename(wanted)


def module(program: str, path: str) -> Path:
    """The unpacked source of a module that a program is built from: its CRDs and manifests.

    Args:
        program: Folder in go/.
        path: Path of the module.

    Raises:
        RuntimeError: the module cannot be had.
    """
    command = ["go", "mod", "download", "-json", path]
    environment = {**os.environ, "GOWORK": "off"}
    version = ["go", "list", "-m", "-f", "{{.Version}}", path]
    chosen = subprocess.run(version, cwd=SOURCES / program, env=environment, capture_output=True, text=True)
    if chosen.returncode == 0:
        command[-1] = f"{path}@{chosen.stdout.strip()}"
        found = subprocess.run(command, cwd=SOURCES / program, env=environment, capture_output=True, text=True)
        if found.returncode == 0:
            return Path(json.loads(found.stdout)["Dir"])
        chosen = found
    raise RuntimeError(f"module {path} of {program}: {chosen.stderr or chosen.stdout}")


if __name__ == "__main__":
    build(os.getuid() == 0, lambda line: print(line, file=sys.stderr, flush=True))
