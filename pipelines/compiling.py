"""Pipelines and components to YAML: writes the checked-in files and checks that they are up to date."""

import importlib
import tempfile
import warnings
from pathlib import Path
from typing import Any, cast

import yaml
from kfp.compiler import Compiler
from kfp.compiler.compiler_utils import KubernetesManifestOptions
from kfp.dsl.base_component import BaseComponent

from components.shared import images
from components.shared.errors import InputError
from components.shared.storage import write_text
from components.shared.version import VERSION
from pipelines.catalog import catalog
from pipelines.compacting import shortened
from pipelines.linting import lint
from pipelines.training import training
from pipelines.tuning import tuning

COMPILED = Path(__file__).parent / "compiled"
STAGES = Path(__file__).parents[1] / "components"
IMAGES = Path(__file__).parents[1] / "manifests" / "components" / "images" / "kustomization.yaml"
"""Written only in a checkout: the wheel has no manifests."""

POD_SPECS = {
    "ServingRuntime": "/spec",
    "ClusterTrainingRuntime": "/spec/template/spec/replicatedJobs/0/template/spec/template/spec",
}
"""Kinds of manifests that start pods of ours -> path of the pod's specification."""

PIPELINES: dict[str, BaseComponent] = {
    "training": cast(BaseComponent, training),
    "tuning": cast(BaseComponent, tuning),
    "catalog": cast(BaseComponent, catalog),
}
"""Pipelines by the name used on the command line."""


def pipeline_named(name: str) -> BaseComponent:
    """The pipeline called `name`.

    Raises:
        InputError: there is no such pipeline.
    """
    if name not in PIPELINES:
        raise InputError(f"PIPELINE is '{name}'", f"use one of: {', '.join(PIPELINES)}")
    return PIPELINES[name]


def parameters_of(name: str) -> tuple[str, ...]:
    """Names of a pipeline's parameters.

    Raises:
        InputError: there is no such pipeline.
    """
    return tuple(pipeline_named(name).component_spec.inputs or {})


def compiled_yaml(pipeline: BaseComponent) -> str:
    """The YAML of a pipeline or component, the same text on every machine."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "pipeline.yaml"
        Compiler().compile(pipeline, str(path))
        return path.read_text(encoding="utf-8")


def pipeline_yaml(pipeline: BaseComponent) -> str:
    """The YAML of a pipeline as it is submitted, without what a run does not need (compacting.py)."""
    return shortened(compiled_yaml(pipeline))


def native_yaml(name: str, pipeline: BaseComponent) -> str:
    """The same pipeline as Kubernetes objects: `Pipeline` and `PipelineVersion`, for KFP in native mode.

    The namespace is set by `kubectl apply -n`; the version name contains the version of shoprank.
    """
    version = f"shoprank-{name}-{VERSION.replace('.', '-')}"
    options = KubernetesManifestOptions(pipeline_version_name=version, include_pipeline_manifest=True)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "pipeline.yaml"
        Compiler().compile(
            pipeline, str(path), kubernetes_manifest_format=True, kubernetes_manifest_options=options
        )  # fmt: skip
        text = path.read_text(encoding="utf-8")
    return shortened(text)


def stage_components() -> dict[str, BaseComponent]:
    """Component of every stage, by stage name."""
    found = {}
    for path in sorted(STAGES.glob("*/component.py")):
        name = path.parent.name
        found[name] = getattr(importlib.import_module(f"components.{name}.component"), name)
    return found


def image_settings() -> str:
    """A kustomize component that sets registry, tag and pull secret of the images in the manifests."""
    chosen = {"train": images.TRAIN_IMAGE, "predictor": images.PREDICTOR_IMAGE}
    settings: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component",
        "images": [
            {"name": f"{images.DEFAULT_REGISTRY}/{name}", "newName": image.rpartition(":")[0], "newTag": images.TAG}
            for name, image in chosen.items()
        ],
    }  # fmt: skip
    if images.PULL_SECRET:
        settings["patches"] = [
            {"target": {"kind": kind}, "patch": yaml.safe_dump(
                [{"op": "add", "path": f"{path}/imagePullSecrets", "value": [{"name": images.PULL_SECRET}]}])}
            for kind, path in POD_SPECS.items()
        ]  # fmt: skip
    return (
        f"# written by `shoprank compile` from components/shared/images.py\n{yaml.safe_dump(settings, sort_keys=False)}"
    )


def compile_all(check: bool) -> list[Path]:
    """Write (or, with `check`, only compare) the pipelines in both forms, the stages' component.yaml and the images.

    Raises:
        InputError: with `check`, a file is stale; or the lint reports findings.
    """
    texts = {}
    for name, pipeline in PIPELINES.items():
        texts[COMPILED / f"{name}.yaml"] = pipeline_yaml(pipeline)
        texts[COMPILED / f"{name}.kubernetes.yaml"] = native_yaml(name, pipeline)
    for path, text in texts.items():
        if findings := lint(text):
            raise InputError(f"{path.name}: {findings[0]}", f"fix all {len(findings)} findings")
    if IMAGES.parent.exists():
        texts[IMAGES] = image_settings()
    for name, component in stage_components().items():
        texts[STAGES / name / "component.yaml"] = compiled_yaml(component)
    for path, text in texts.items():
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            raise InputError(f"{path} is stale", "run `shoprank compile` and commit the result")
        if not check:
            write_text(path, text)
    return list(texts)
