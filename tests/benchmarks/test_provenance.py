"""The line under every measured table: command, commit and hardware."""

import subprocess

import pytest

from tests.benchmarks.tables import provenance


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of one commit with a README and some code."""
    monkeypatch.chdir(tmp_path)
    for name in ("README.md", "code.py"):
        (tmp_path / name).write_text("one\n")
    name = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "-A"], [*name, "commit", "-qm", "one"]):
        subprocess.run(["git", *arguments], check=True)
    return tmp_path


def test_uncommitted_changes_are_reported_except_in_the_readme(repository):
    (repository / "README.md").write_text("two\n")
    assert " and changes" not in provenance("make bench")
    (repository / "code.py").write_text("two\n")
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
    assert f"`make bench`, commit {commit.stdout.strip()} and changes, " in provenance("make bench")


def test_gpus_are_counted_and_named(repository, monkeypatch):
    program = repository / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf 'NVIDIA H100\\nNVIDIA H100\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(repository), prepend=":")
    assert ", 2 NVIDIA H100, " in provenance("make bench")
    program.write_text("#!/bin/sh\necho failed\nexit 9\n")
    assert ", no GPU, " in provenance("make bench")
