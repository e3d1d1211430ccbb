"""The shape of the repository that no linter checks: stage folders, sizes, names (imports: import-linter)."""

import ast
import datetime
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import components

ROOT = Path(__file__).parents[1]
PACKAGES = ("components", "pipelines", "serving")
STAGES = sorted(path.parent for path in ROOT.glob("components/*/component.py"))
EVERY = sorted(path for package in (*PACKAGES, "tests") for path in (ROOT / package).rglob("*.py"))
CODE = [path for path in EVERY if "tests" not in path.relative_to(ROOT).parts and path.name != "conftest.py"]
VAGUE = {"util", "utils", "helper", "helpers", "common", "misc", "tools", "stuff", "lib", "core", "base", "manager"}
TOP = {"pyproject.toml", "README.md", *PACKAGES, "manifests", "tests", "kind-cluster.yaml", "LICENSE", "Makefile"}
REGISTRIES = [".".join(parts) for parts in (
    ("pypi", "org"), ("pythonhosted", "org"), ("download", "pytorch", "org"), ("ghcr", "io"), ("quay", "io"),
    ("gcr", "io"), ("docker", "io/"), ("hub", "docker"), ("npmjs", "org"), ("npmjs", "com"), ("anaconda", "org"),
    ("conda", "io"), ("huggingface", "co"), ("mcr", "microsoft"), ("proxy", "golang"), ("crates", "io"),
)]  # fmt: skip
"""Hosts that a tracked file may not name: users have their own registries. In parts, so that this file passes."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tracked() -> list[str]:
    return subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def imports(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def test_only_component_modules_import_kfp_and_little_else_at_their_top():
    wrong = []
    for stage in STAGES:
        for path in stage.glob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if path.name == "component.py":
                wrong += [f"{name(path)}: {module}" for module in imports(tree.body)
                          if module.split(".")[0] not in ("kfp", "typing")
                          and module not in ("components.image_component", "components.shared.images")]  # fmt: skip
            else:
                found = imports([node for node in ast.walk(tree) if isinstance(node, ast.stmt)])
                wrong += [f"{name(path)}: {module}" for module in found if module.split(".")[0] in {"kfp", "kserve"}]
    assert wrong == []


@pytest.mark.parametrize("stage", STAGES, ids=name)
def test_stage_folder_is_complete(stage):
    assert re.fullmatch(r"[a-z]+_[a-z]+", stage.name), "verb_noun"
    body = ast.parse((stage / "__init__.py").read_text()).body
    assert len(body) == 1 and isinstance(body[0], ast.Expr), "__init__.py holds its docstring only"
    assert list((stage / "tests").glob("test_*.py")), "a stage has tests"
    assert not (stage / "tests" / "__init__.py").exists()
    metadata = yaml.safe_load((stage / "metadata.yaml").read_text())
    order = ["name", "stability", "dependencies", "tags", "lastVerified"]
    assert list(metadata) == [field for field in order if field in metadata or field != "tags"]
    assert metadata["name"] == stage.name and metadata["stability"] in {"experimental", "alpha", "beta", "stable"}
    assert set(metadata["dependencies"]) <= {"kubeflow", "external_services"}
    assert "Pipelines" in [entry["name"] for entry in metadata["dependencies"]["kubeflow"]]
    for entry in (entry for entries in metadata["dependencies"].values() for entry in entries):
        assert set(entry) == {"name", "version"}
        assert re.fullmatch(r">=\d+\.\d+\.\d+", entry["version"]), entry
    assert all(isinstance(tag, str) for tag in metadata.get("tags", []))
    assert isinstance(metadata["lastVerified"], datetime.datetime)


def test_files_are_short_and_named_for_their_contents():
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in EVERY}
    assert {name(path): count for path, count in lines.items() if count > (300 if path in CODE else 400)} == {}
    assert [name(path) for path in EVERY if path.stem in VAGUE] == []


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return node.end_lineno - node.lineno + 1 - (first.end_lineno - first.lineno + 1 if documented else 0)


def test_functions_are_short_and_components_contain_no_logic():
    wrong = []
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            pipeline = any(ast.unparse(decorator).startswith("dsl.pipeline") for decorator in node.decorator_list)
            if code_lines(node) > (75 if pipeline else 60):
                wrong.append(f"{name(path)}: {node.name} has {code_lines(node)} lines")
            if any(ast.unparse(decorator).startswith("image_component") for decorator in node.decorator_list):
                work = [part for part in node.body[1:] if not isinstance(part, ast.ImportFrom | ast.Return)]
                wrong += [f"{name(path)}: {node.name} has {len(work)} statements"] * (len(work) > 6)
    assert wrong == []


def test_the_packages_are_those_of_this_checkout():
    assert Path(components.__file__).parent == ROOT / "components"


def test_top_level_contains_only_allowed_entries():
    top = {path.split("/")[0] for path in tracked()}
    lock = re.compile(r"requirements[\w.-]*\.txt|[\w.-]+\.lock")
    assert {
        entry for entry in top if entry not in TOP and not entry.startswith(".") and not lock.fullmatch(entry)
    } == set()
    assert {"components", "pipelines", "serving", "pyproject.toml"} <= top


def test_no_tracked_file_names_a_registry():
    found = []
    for path in tracked():
        file = ROOT / path
        if file.is_file() and file.suffix not in {".png", ".gz", ".svg"}:
            text = file.read_text(encoding="utf-8", errors="replace")
            found += [f"{path}: {host}" for host in REGISTRIES if host in text]
    assert found == []
