"""Pipelines to YAML: what is checked in must be what the code says, and must not install anything at run time."""

import tempfile
import warnings
from pathlib import Path
from typing import cast

from kfp.compiler import Compiler
from kfp.dsl.base_component import BaseComponent

from components.shared.errors import InputError
from components.shared.storage import write_text
from pipelines.training import training

COMPILED = Path(__file__).parent / "compiled"

PIPELINES: dict[str, BaseComponent] = {"training": cast(BaseComponent, training)}
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


def compile_all(check: bool) -> list[Path]:
    """Write (or, with `check`, only compare) pipelines/compiled/*.yaml.

    Raises:
        InputError: with `check`, a file is stale; or the YAML installs packages at run time.
    """
    paths = []
    for name, pipeline in PIPELINES.items():
        text, path = compiled_yaml(pipeline), COMPILED / f"{name}.yaml"
        if "pip install" in text:
            raise InputError(
                f"pipelines/compiled/{name}.yaml would install packages at run time",
                "set install_kfp_package=False and leave packages_to_install out; bake packages into the image",
            )
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            raise InputError(f"{path} is stale", "run `shoprank compile` and commit the result")
        if not check:
            write_text(path, text)
        paths.append(path)
    return paths
