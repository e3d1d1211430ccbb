"""The shape of the repository: arrows, stage folders, sizes, names."""

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
ROOMS = ("components", "pipelines", "serving")
STAGES = sorted(path.parent for path in ROOT.glob("components/*/component.py"))
EVERY = sorted(path for room in (*ROOMS, "tests") for path in (ROOT / room).rglob("*.py"))
CODE = [path for path in EVERY if "tests" not in path.relative_to(ROOT).parts and path.name != "conftest.py"]
VAGUE = {"util", "utils", "helper", "helpers", "common", "misc", "tools", "stuff", "lib", "core", "base", "manager"}
TOP = {"pyproject.toml", "README.md", *ROOMS, "manifests", "tests", "kind-cluster.yaml", "LICENSE", "Makefile"}
CLUSTER = {"kfp", "kserve", "kubernetes", "kubeflow"}
REGISTRIES = [".".join(parts) for parts in (
    ("pypi", "org"), ("pythonhosted", "org"), ("download", "pytorch", "org"), ("ghcr", "io"), ("quay", "io"),
    ("gcr", "io"), ("docker", "io/"), ("hub", "docker"), ("npmjs", "org"), ("npmjs", "com"), ("anaconda", "org"),
    ("conda", "io"), ("huggingface", "co"), ("mcr", "microsoft"), ("proxy", "golang"), ("crates", "io"),
)]  # fmt: skip
"""Hosts that a tracked file may not name; whoever installs has registries of their own. In parts, to pass itself."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tracked() -> list[str]:
    return subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def imports(path: Path, everywhere: bool = True) -> Iterator[str]:
    """Modules that a file imports: anywhere, or at its top level only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}: import by full name, as {node.module} is not"
            # `from package import module` names the module too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def belongs(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def allowed(path: Path) -> tuple[str, ...]:
    """Our own packages that a file may import."""
    room, part = path.relative_to(ROOT).parts[:2]
    if room == "components" and part == "cluster":
        return ("components.shared", "components.cluster")
    if name(path) == "components/tune_hyperparameters/models.py":
        # A trial is a training stage's own run, so that what is tuned is what is trained. Only this module knows them.
        return ("components.shared", f"components.{part}", "components.train_retriever", "components.train_ranker")
    if name(path) == "components/check_parameters/check.py":
        # It asks the code that later uses a parameter whether it can.
        return ("components",)
    if room == "components" and part != "shared" and (ROOT / room / part).is_dir():
        return ("components.shared", "components.cluster", f"components.{part}")
    return {
        "components": ("components.shared",),
        "serving": ("components.shared", "serving"),
        "pipelines": ("components", "pipelines"),
    }[room]


@pytest.mark.parametrize("path", CODE, ids=name)
def test_arrows_run_down(path):
    ours = [module for module in imports(path) if belongs(module, *ROOMS)]
    assert [module for module in ours if not belongs(module, *allowed(path))] == []


@pytest.mark.parametrize("path", [path for path in CODE if "shared" in path.parts], ids=name)
def test_the_shared_nouns_know_no_cluster(path):
    assert [module for module in imports(path) if module.split(".")[0] in CLUSTER] == []


@pytest.mark.parametrize("path", CODE, ids=name)
def test_one_room_alone_knows_the_kubernetes_client(path):
    found = [module for module in imports(path) if module.split(".")[0] == "kubernetes"]
    assert found == [] or belongs(name(path).replace("/", "."), "components.cluster")


@pytest.mark.parametrize("path", [path for path in CODE if path.parent in STAGES], ids=name)
def test_only_the_face_of_a_stage_knows_kfp(path):
    if path.name == "component.py":
        top = [module for module in imports(path, everywhere=False) if not belongs(module, "kfp")]
        assert [module for module in top if not belongs(module, "components.shared.images")] == []
        assert "from __future__" not in path.read_text(), "it breaks KFP's reading of annotations"
    elif path.name != "blessing.py":
        assert [module for module in imports(path) if module.split(".")[0] in CLUSTER] == []
    assert [module for module in imports(path) if ".component" in module and belongs(module, "components")] == []


@pytest.mark.parametrize("path", [path for path in CODE if name(path).startswith("serving")], ids=name)
def test_serving_needs_neither_training_nor_pipelines(path):
    heavy = ("torch", "torchrec", "kfp", "components.shared.models", "components.shared.training")
    assert [module for module in imports(path) if belongs(module, *heavy)] == []


@pytest.mark.parametrize("stage", STAGES, ids=name)
def test_a_stage_folder_is_whole(stage):
    assert re.fullmatch(r"[a-z]+_[a-z]+", stage.name), "verb_noun"
    body = ast.parse((stage / "__init__.py").read_text()).body
    assert len(body) == 1 and isinstance(body[0], ast.Expr), "__init__.py holds its docstring only"
    assert list((stage / "tests").glob("test_*.py")), "a stage has tests"
    assert not (stage / "tests" / "__init__.py").exists()
    assert [path for path in stage.glob("*.py") if path.name not in {"__init__.py", "component.py"}], "plain logic"


@pytest.mark.parametrize("stage", STAGES, ids=name)
def test_metadata_is_what_kubeflow_reads(stage):
    found = yaml.safe_load((stage / "metadata.yaml").read_text())
    order = ["name", "stability", "dependencies", "tags", "lastVerified"]
    assert list(found) == [field for field in order if field in found or field != "tags"]
    assert found["name"] == stage.name and found["stability"] in {"experimental", "alpha", "beta", "stable"}
    assert set(found["dependencies"]) <= {"kubeflow", "external_services"}
    assert "Pipelines" in [entry["name"] for entry in found["dependencies"]["kubeflow"]]
    for entry in (entry for entries in found["dependencies"].values() for entry in entries):
        assert set(entry) == {"name", "version"}
        assert re.fullmatch(r">=\d+\.\d+\.\d+", entry["version"]), entry
    assert all(isinstance(tag, str) for tag in found.get("tags", []))
    assert isinstance(found["lastVerified"], datetime.datetime)


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_files_are_short_and_named_for_what_they_hold(path):
    tests = "tests" in path.parts
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= (400 if tests else 300), f"{lines} lines"
    assert path.stem not in VAGUE


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return node.end_lineno - node.lineno + 1 - (first.end_lineno - first.lineno + 1 if documented else 0)


@pytest.mark.parametrize("path", CODE, ids=name)
def test_modules_say_what_they_are_and_functions_are_short(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "a module opens with what it is"
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        face = any("dsl." in ast.unparse(decorator) for decorator in node.decorator_list)
        assert code_lines(node) <= (70 if face else 60), f"{node.name} has {code_lines(node)} lines"
        # KFP's inputs, outputs and parameters are what a stage has; everything else takes a config dataclass.
        count = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
        assert face or count <= 8 + (node.args.args[:1] != [] and node.args.args[0].arg in {"self", "cls"}), node.name
        if face and "component" in ast.unparse(node.decorator_list[0]):
            work = [part for part in node.body[1:] if not isinstance(part, ast.ImportFrom | ast.Return)]
            assert len(work) <= 6, f"{node.name}: the face only hands values on"


def test_the_packages_are_those_of_this_checkout():
    assert Path(components.__file__).parent == ROOT / "components"


def test_the_top_level_holds_what_it_may():
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
