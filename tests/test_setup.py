"""The Makefile's set-up, with a stub of Python that logs its arguments and installs nothing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from components.shared.tests.small_disk import small_file_system

ROOT = Path(__file__).parents[1]
PYTHON = """#!/bin/bash
echo "$*" >> "$LOG"
case "$*" in
  "--version") echo "Python 3.9.1" ;;
  "-c import sys"*) exit ${OLD:-0} ;;
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"${FAILING:-nothing fails}"*) exit 1 ;;
esac
"""
DF = """#!/bin/bash
echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
echo "/dev/one 99999999 1 $FREE_KB 1% /"
"""
PIP = "-m pip install -q --disable-pip-version-check"
SETUPTOOLS, TORCH = f"{PIP} setuptools==84.2.1", f"{PIP} torch==2.13.0"
LOCKED, OURS = f"{PIP} --no-deps -r requirements.lock", f"{PIP} --no-deps --no-build-isolation -e ."
STEPS = [SETUPTOOLS, TORCH, LOCKED, OURS]


class Checkout:
    """A temporary folder with the files that the set-up reads."""

    def __init__(self, folder: Path, programs: Path):
        self.folder, self.programs, self.log = folder, programs, programs / "log"
        (folder / ".ci").mkdir(parents=True)
        for name in ("Makefile", "pyproject.toml", "requirements.lock", ".ci/free_space"):
            shutil.copy2(ROOT / name, folder / name)
        programs.mkdir()
        self.program("python3", PYTHON)

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def make(self, *arguments: str, **environment: str) -> tuple[list[str], str]:
        """Run the set-up; return the logged commands of Python, and standard error of a failure."""
        self.log.write_text("")
        own = ("MAKE", "MFLAGS", "PIP_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        path = f"{self.programs}:{os.environ['PATH']}"
        done = subprocess.run(
            ["make", "-s", ".venv/ready", *arguments], cwd=self.folder, capture_output=True, text=True, check=False,
            env={**inherited, "PATH": path, "LOG": str(self.log), "PIP_NO_CACHE_DIR": "1", **environment},
        )  # fmt: skip
        commands = [line for line in self.log.read_text().splitlines() if line.startswith("-m")]
        return commands, done.stderr if done.returncode else ""


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / "checkout", tmp_path / "programs")


def test_every_step_runs_once(checkout):
    assert checkout.make() == (["-m venv .venv", *STEPS], "")
    assert checkout.make() == ([], "")


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_interrupted_set_up_resumes_with_the_unfinished_step(checkout, step):
    commands, error = checkout.make(FAILING=STEPS[step])
    assert commands == ["-m venv .venv", *STEPS[: step + 1]] and "Error 1" in error
    assert checkout.make() == (STEPS[step:], "")


def test_new_pins_do_not_reinstall_torch(checkout):
    checkout.make()
    os.utime(checkout.folder / "requirements.lock", (2**32, 2**32))
    assert checkout.make()[0] == [LOCKED, OURS]


def test_torch_index_is_used_for_torch_only(checkout):
    commands, _ = checkout.make("TORCH_INDEX=file:///wheels")
    assert commands == ["-m venv .venv", SETUPTOOLS, f"{PIP} --index-url file:///wheels torch==2.13.0", LOCKED, OURS]


def test_incomplete_environment_and_one_without_python_are_recreated(checkout):
    (checkout.folder / ".venv" / "bin").mkdir(parents=True)
    assert checkout.make() == (["-m venv .venv", *STEPS], "")
    (checkout.folder / ".venv" / "bin" / "python").unlink()
    assert checkout.make() == (["-m venv .venv", *STEPS], "")


@pytest.mark.parametrize(("arguments", "needed"), [((), 8), (("TORCH_INDEX=file:///wheels",), 3)])
def test_insufficient_space_is_reported_before_anything_is_installed(checkout, arguments, needed):
    checkout.program("df", DF)
    commands, error = checkout.make(*arguments, FREE_KB=str(needed * 2**20 - 100_000))
    assert commands == []
    assert f"error: {checkout.folder} has {needed - 0.1:.1f} GB free, the set-up needs {needed}.0 GB there" in error
    assert "\n  fix: free space, or choose a smaller build of torch (TORCH_INDEX=URL)" in error
    assert checkout.make(*arguments, FREE_KB=str(needed * 2**20))[1] == ""


def test_required_space_excludes_installed_files_and_includes_the_pip_cache(checkout):
    checkout.program("df", DF)
    checkout.make(FAILING=TORCH, FREE_KB=str(8 * 2**20))
    with (checkout.folder / ".venv" / "half").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 64 * 2**20)
    kept = 8 * 2**20 - 64 * 1024
    assert "needs 10.9 GB there" in checkout.make(FREE_KB=str(kept), PIP_NO_CACHE_DIR="")[1]
    assert checkout.make(FREE_KB=str(kept)) == (STEPS[1:], "")


def test_error_for_a_full_disk_names_the_folder(tmp_path):
    with small_file_system(tmp_path, "4m") as disk:
        commands, error = Checkout(disk / "checkout", tmp_path / "programs").make()
        assert commands == []
        assert f"error: {disk}/checkout has 0.0 GB free, the set-up needs 8.0 GB there" in error


def test_error_for_a_full_download_folder_names_it(tmp_path, checkout):
    with small_file_system(tmp_path, "4m") as disk:
        commands, error = checkout.make(TMPDIR=str(disk))
        assert commands == [] and f"error: {disk} has 0.0 GB free, the set-up needs 3.0 GB there" in error


def test_unsupported_version_of_python_is_refused(checkout):
    commands, error = checkout.make(OLD="1")
    assert commands == []
    assert "error: Python 3.9.1 is not 3.11, 3.12 or 3.13\n  fix: name one of these: make TARGET PYTHON=" in error
