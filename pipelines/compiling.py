"""Pipelines to YAML: what is checked in must be what the code says, and must not install anything at run time."""

import tempfile
import warnings
from pathlib import Path
from typing import cast

import yaml
from kfp.compiler import Compiler
from kfp.compiler.compiler_utils import KubernetesManifestOptions
from kfp.dsl.base_component import BaseComponent

from components.shared.errors import InputError
from components.shared.storage import write_text
from components.shared.version import VERSION
from pipelines.catalog import catalog
from pipelines.linting import lint
from pipelines.training import training
from pipelines.tuning import tuning

COMPILED = Path(__file__).parent / "compiled"

PIPELINES: dict[str, BaseComponent] = {
    "training": cast(BaseComponent, training),
    "tuning": cast(BaseComponent, tuning),
    "catalog": cast(BaseComponent, catalog),
}
"""Every pipeline by the word that runs, compiles and submits it."""


def pipeline_named(name: str) -> BaseComponent:
    """The pipeline called `name`.

    Raises:
        InputError: there is none.
    """
    if name not in PIPELINES:
        raise InputError(f"PIPELINE is '{name}'", f"use one of: {', '.join(PIPELINES)}")
    return PIPELINES[name]


def compiled_yaml(pipeline: BaseComponent) -> str:
    """The YAML of a pipeline, the same text on every machine."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "pipeline.yaml"
        Compiler().compile(pipeline, str(path))
        return path.read_text(encoding="utf-8")


def native_yaml(name: str, pipeline: BaseComponent) -> str:
    """The same pipeline as Kubernetes objects: `Pipeline` and `PipelineVersion`, for servers that keep them there.

    The namespace is left to `kubectl apply -n`; the version is named after this release.
    """
    version = f"shoprank-{name}-{VERSION.replace('.', '-')}"
    options = KubernetesManifestOptions(pipeline_version_name=version, include_pipeline_manifest=True)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "pipeline.yaml"
        Compiler().compile(
            pipeline, str(path), kubernetes_manifest_format=True, kubernetes_manifest_options=options
        )  # fmt: skip
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for document in documents:
        # Written as null, which an API server refuses for a text.
        document["metadata"] = {key: value for key, value in document["metadata"].items() if value is not None}
    return yaml.safe_dump_all(documents, sort_keys=True)


def compile_all(check: bool) -> list[Path]:
    """Write (or, with `check`, only compare) pipelines/compiled/*.yaml, both forms of every pipeline.

    Raises:
        InputError: with `check`, a file is stale; or the lint finds what a cluster should not be given.
    """
    paths = []
    for name, pipeline in PIPELINES.items():
        texts = {f"{name}.yaml": compiled_yaml(pipeline), f"{name}.kubernetes.yaml": native_yaml(name, pipeline)}
        for file, text in texts.items():
            path, findings = COMPILED / file, lint(text)
            if findings:
                raise InputError(f"pipelines/compiled/{file}: {findings[0]}", f"mend all {len(findings)} findings")
            if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
                raise InputError(f"{path} is stale", "run `shoprank compile` and commit the result")
            if not check:
                write_text(path, text)
            paths.append(path)
    return paths
