"""`python:3.11-slim`, or without a registry an equivalent stand-in made from Debian and this CPython.

The stand-in lives only in the tests' own engine, under the real name, so that the Dockerfiles build unmodified.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.containers.engine import Engine, EngineMissing

BASE = "python:3.11-slim"

_PACKAGES = (
    "ca-certificates", "netbase", "tzdata", "libbz2-1.0", "libexpat1", "libffi8", "liblzma5", "libncursesw6",
    "libreadline8", "libsqlite3-0", "libssl3", "libuuid1", "zlib1g",
)  # fmt: skip
"""What CPython's own extension modules need."""

_LEFT_OUT = ("site-packages", "test", "idlelib", "tkinter", "turtledemo", "config-3.11*", "__pycache__")


def provide(engine: Engine) -> str:
    """Make BASE available and say how: 'here', 'pulled' or 'stand-in'.

    Raises:
        EngineMissing: it can neither be pulled nor made.
    """
    if engine.has(BASE):
        return "here"
    if engine.run("pull", BASE, check=False).returncode == 0:
        return "pulled"
    if not engine.own:
        raise EngineMissing(f"{BASE} cannot be pulled, and a stand-in has no place in an engine that others use")
    if shutil.which("mmdebstrap") is None:
        raise EngineMissing(f"{BASE} cannot be pulled and mmdebstrap, which makes a stand-in, is not installed")
    if sys.version_info[:2] != (3, 11) or not list(_library().glob("ensurepip/_bundled/*.whl")):
        raise EngineMissing(f"{BASE} cannot be pulled, and {sys.base_prefix} is no CPython 3.11 to make a stand-in of")
    with tempfile.TemporaryDirectory(prefix="shoprank-base-") as folder:
        _import(engine, _root(Path(folder) / "root"))
    return "stand-in"


def _library() -> Path:
    return Path(sys.base_prefix) / "lib" / "python3.11"


def _root(root: Path) -> Path:
    """The stand-in's root file system."""
    _check("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(_PACKAGES)}", "bookworm", str(root))
    target = root / "usr" / "local"
    shutil.copytree(_library(), target / "lib" / "python3.11", ignore=shutil.ignore_patterns(*_LEFT_OUT))
    for library in Path(sys.base_prefix, "lib").glob("libpython3*.so*"):
        shutil.copy2(library, target / "lib", follow_symlinks=False)
    shutil.copy2(Path(sys.base_prefix, "bin", "python3.11"), target / "bin")
    for name in ("python", "python3"):
        (target / "bin" / name).symlink_to("python3.11")
    _certificates(root)
    (root / "etc" / "ld.so.conf.d" / "local.conf").write_text("/usr/local/lib\n")
    _check("chroot", str(root), "ldconfig")
    environment = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp"}
    _check("chroot", str(root), "python3", "-m", "ensurepip", "--default-pip", environment=environment)
    shutil.rmtree(root / "var" / "cache" / "apt", ignore_errors=True)
    return root


def _certificates(root: Path) -> None:
    """Trust the certificate authorities of this machine, such as that of a proxy that inspects TLS."""
    found = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    if found and Path(found).is_file():
        shutil.copyfile(found, root / "etc" / "ssl" / "certs" / "ca-certificates.crt")
        (root / "etc" / "pip.conf").write_text("[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n")


def _import(engine: Engine, root: Path) -> None:
    archive = root.with_suffix(".tar")
    _check("tar", "--create", "--numeric-owner", "--file", str(archive), "--directory", str(root), ".")
    path = "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    engine.run("import", "--change", path, "--change", 'CMD ["python3"]', str(archive), BASE)


def _check(*command: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise EngineMissing(f"{' '.join(command)[:200]} failed: {' | '.join(done.stderr.splitlines()[-3:])}")
