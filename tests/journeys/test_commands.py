"""Commands of the READMEs that no journey can execute: each is checked as far as this machine allows."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.journeys.blocks import ROOT, blocks, readmes
from tests.journeys.claims import CHECKED_ONLY

MAIN = "from pipelines.cli.app import main; main()"
MODULES = """
import contextlib, io, json, runpy, sys
for module in sys.argv[1:]:
    sys.argv, output = [module, "--help"], io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(output):
        runpy.run_module(module, run_name="__main__")
    print(json.dumps([module, output.getvalue()]))
"""
"""Prints the help of many modules from one process, which imports torch once."""


def commands(name: str) -> list[str]:
    """The commands of a block, split at `&&`."""
    return [part.strip() for command in blocks()[name].commands() for part in command.split(" #")[0].split(" && ")]


def output(*arguments: str, cwd: Path = ROOT) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


@cache
def shoprank_help(*arguments: str) -> str:
    return output(sys.executable, "-c", MAIN, *arguments, "--help")


@cache
def module_help() -> dict[str, str]:
    found = {command.split()[2] for name in CHECKED_ONLY for command in commands(name) if "python -m " in command}
    lines = output(sys.executable, "-W", "ignore", "-c", MODULES, *sorted(found)).splitlines()
    return dict(json.loads(line) for line in lines if line.startswith("["))


def flags(command: str) -> set[str]:
    return set(re.findall(r"(?<=\s)--[\w-]+", command))


def check_make(command: str) -> None:
    assert output("make", "-n", "-o", ".venv/ready", *command.split()[1:]).strip()


def check_kubectl(command: str, folder: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl (Debian: kubernetes-client)")
    applied = re.search(r" apply .*-k (\S+)", command)
    if applied:
        assert "kind: " in output("kubectl", "kustomize", applied[1])
        return
    assert " create configmap " in command, f"say how to check: {command}"
    (folder / "signing.pem.pub").write_text("key\n")
    assert "signing.pem.pub: " in output(*shlex.split(command), "--dry-run=client", "-o", "yaml", cwd=folder)


GROUPS = ("rollout", "registry", "keys")
"""Commands with commands of their own that READMEs name without running them."""


def check_shoprank(command: str) -> None:
    word, *rest = command.split()[1:]
    known = shoprank_help(word, rest[0]) if word in GROUPS else shoprank_help(word)
    assert {flag for flag in flags(command) if flag not in known} == set()


def check_module(command: str) -> None:
    known = module_help()[command.split()[2]]
    assert known and {flag for flag in flags(command) if flag not in known} == set()


def check(command: str, folder: Path) -> None:
    match command.split():
        case ["make", *_]:
            check_make(command)
        case ["kubectl", *_]:
            check_kubectl(command, folder)
        case ["shoprank", *_]:
            check_shoprank(command)
        case ["python", "-m", *_]:
            check_module(command)
        case _:
            raise AssertionError(f"say how to check: {command}")


@pytest.mark.parametrize("name", CHECKED_ONLY)
def test_commands_that_are_not_executed_exist(name, tmp_path):
    for command in commands(name):
        check(command, tmp_path)


SECTIONS = "data|features|retriever|ranker|training|evaluation|compile|release|rollout|tuning"


def settings() -> set[str]:
    """The paths of options that any README names: after `--set`, as `section.field`, or in the table of sections."""
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in readmes())
    found = set(re.findall(r"--set '?([\w.]+)=", text)) | set(re.findall(rf"`((?:{SECTIONS})\.[\w.]+)[`=]", text))
    table = (ROOT / "pipelines/README.md").read_text(encoding="utf-8")
    for section, cells in re.findall(rf"^\| `?({SECTIONS}|top level)`? \| (.+) \|$", table, re.MULTILINE):
        found |= {f"{section}.{name}".removeprefix("top level.") for name in re.findall(r"`([\w.]+)`", cells)}
    return {path for path in found if not path.endswith((".py", ".json"))}


@cache
def schema() -> dict:
    return json.loads(output(sys.executable, "-c", MAIN, "config", "--schema"))


def fields(node: dict) -> dict:
    """The properties of a node of the schema, through references and alternatives; a free object has none."""
    if "$ref" in node:
        return fields(schema()["$defs"][node["$ref"].rpartition("/")[2]])
    inner = [fields(one) for key in ("anyOf", "oneOf", "allOf") for one in node.get(key, [])]
    return {**node.get("properties", {}), **{name: value for one in inner for name, value in one.items()}}


def unknown(path: str) -> str:
    """Error message for a path that is not a field, else ''."""
    node = schema()
    for name in path.split("."):
        known = fields(node)
        if name not in known:
            return f"{path}: '{name}' is none of {', '.join(known)}"
        node = known[name]
    return ""


def test_every_documented_setting_is_a_field_of_the_configuration():
    found = sorted(settings())
    assert len(found) > 60 and [fault for fault in map(unknown, found) if fault] == []
