"""Registry, tag and pull secret: set in the environment of the compilation, they are those of every step."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.shared import images
from pipelines.compiling import COMPILED, IMAGES, PIPELINES, compile_all, image_settings
from pipelines.linting import lint

CHOSEN = {"SHOPRANK_IMAGE_REGISTRY": "registry.example/acme", "SHOPRANK_IMAGE_TAG": "9",
          "SHOPRANK_IMAGE_PULL_SECRET": "acme-pull"}  # fmt: skip
CODE = "from pipelines.compiling import PIPELINES, compiled_yaml; print(compiled_yaml(PIPELINES['{}']))"


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_step_has_the_chosen_registry_tag_and_pull_secret(pipeline):
    command = [sys.executable, "-c", CODE.format(pipeline)]
    text = subprocess.run(command, env={**os.environ, **CHOSEN}, capture_output=True, text=True, check=True).stdout
    assert lint(text) == []
    specification, platform = yaml.safe_load_all(text)
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    launching = 0
    for name, executor in specification["deploymentSpec"]["executors"].items():
        image = executor["container"]["image"]
        assert image.startswith("registry.example/acme/") and image.endswith(":9"), name
        assert [one["secretName"] for one in settings[name]["imagePullSecret"]] == ["acme-pull"], name
        # A step that may launch a TrainJob tells its nodes.
        given = {one["name"]: one["value"] for one in executor["container"].get("env", [])}
        assert given in ({}, CHOSEN)
        launching += given == CHOSEN
    assert launching == {"training": 2, "tuning": 5, "catalog": 0}[pipeline]


def test_without_a_choice_the_local_registry_is_used_and_no_secret():
    assert images.environment() == {
        "SHOPRANK_IMAGE_REGISTRY": images.DEFAULT_REGISTRY, "SHOPRANK_IMAGE_TAG": images.TAG,
        "SHOPRANK_IMAGE_PULL_SECRET": "",
    }  # fmt: skip
    assert "imagePullSecret" not in (COMPILED / "training.yaml").read_text()


def test_manifests_have_the_images_of_the_pipelines(tmp_path, monkeypatch):
    assert IMAGES in compile_all(check=True) and IMAGES.read_text() == image_settings()
    named = {one["name"].rpartition("/")[2]: f"{one['newName']}:{one['newTag']}"
             for one in yaml.safe_load(image_settings())["images"]}  # fmt: skip
    assert named == {"train": images.TRAIN_IMAGE, "predictor": images.PREDICTOR_IMAGE}
    monkeypatch.setattr("pipelines.compiling.IMAGES", tmp_path / "none" / "kustomization.yaml")
    assert len(compile_all(check=True)) and not Path(tmp_path / "none").exists(), "a wheel has no manifests"
