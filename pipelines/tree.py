"""The README's tree: every file of the product with one phrase, which is the first line of its own docstring."""

import ast
import subprocess
from pathlib import Path

from pipelines.readme import replace_between

ROOT = Path(__file__).parent.parent

PHRASES = {
    "Makefile": "demo, test, test-cluster, kind-up, pictures, bench, quality",
    "pyproject.toml": "one distribution, three packages, the rules of style and tests",
    "requirements.lock": "every package at its exact version",
    "components/Dockerfile": "stage images: data, train",
    "serving/Dockerfile": "the predictor's image",
    "kind-cluster.yaml": "a local cluster with a worker that pretends to hold GPUs",
    "pipelines/compiled/training.yaml": "what a cluster gets",
    "pipelines/compiled/training.kubernetes.yaml": "the same as Kubernetes objects: Pipeline and PipelineVersion",
    "pipelines/compiled/tuning.yaml": "compiled: the tuning pipeline",
    "pipelines/compiled/tuning.kubernetes.yaml": "compiled: the tuning pipeline as Kubernetes objects",
    "pipelines/compiled/catalogue.yaml": "compiled: the catalogue pipeline",
    "pipelines/compiled/catalogue.kubernetes.yaml": "compiled: the catalogue pipeline as Kubernetes objects",
    "manifests/overlays/kind/object-store.env": "the well-known demo login of KFP's own object store",
    "LICENSE": "Apache-2.0",
}
"""Files that carry no docstring."""


def tracked() -> list[str]:
    """Files that git tracks or would, without tests, dotfiles, pictures and package markers."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    shown = [name for name in names if _shown(name) and (ROOT / name).exists()]
    return sorted(shown, key=lambda name: (Path(name).parent, name))


def _shown(name: str) -> bool:
    parts = Path(name).parts
    return not (
        parts[0].startswith(".") or "tests" in parts or Path(name).suffix in {".svg", ".png", ".md", ".dockerignore"}
        or parts[-1] in {"__init__.py", "metadata.yaml", "conftest.py"} or parts[-1].startswith(".")
    )  # fmt: skip


def phrase(name: str) -> str:
    """One phrase about a file.

    Raises:
        KeyError: the file has neither a docstring nor an entry in PHRASES.
    """
    if name in PHRASES:
        return PHRASES[name]
    path = ROOT / name
    if path.suffix == ".py":
        text = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]
    else:
        text = next(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))[2:]
    return text.rstrip(".")


def tree() -> str:
    """The tree as a code block, one line a file, folders with the phrase of their package."""
    lines, folder = ["```"], None
    for name in tracked():
        path = Path(name)
        if path.parent != folder:
            folder = path.parent
            marker = ROOT / folder / "__init__.py"
            about = (ast.get_docstring(ast.parse(marker.read_text())) or "").splitlines()[0] if marker.exists() else ""
            if str(folder) != ".":
                lines.append((f"{folder}/".ljust(34) + about.rstrip(".")).rstrip())
        indent = "  " if str(folder) != "." else ""
        lines.append(f"{indent}{path.name}".ljust(34) + phrase(name))
    return "\n".join([*lines, "```"])


def main() -> None:
    """Write the tree into the README."""
    replace_between(ROOT / "README.md", "tree", tree())


if __name__ == "__main__":
    main()
