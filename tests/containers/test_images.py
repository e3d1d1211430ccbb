"""The images: their packages, what they must not contain, and their user."""

import json
import re

import pytest

from components.shared.images import DATA_IMAGE, PREDICTOR_IMAGE, SERVE_IMAGE, TRAIN_IMAGE
from tests.containers.building import IMAGES, ROOT

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

STAGE_IMAGES = (DATA_IMAGE, TRAIN_IMAGE, SERVE_IMAGE)
LOCKED = dict(
    line.lower().replace("_", "-").split("==") for line in (ROOT / "requirements.lock").read_text().splitlines()
    if "==" in line and not line.startswith("#")
)  # fmt: skip


def inside(engine, image, *command):
    """Output of a command in a container without network on a read-only file system."""
    result = engine.run("run", "--rm", "--network", "none", "--read-only", "--memory", "2g", "--entrypoint", command[0],
                      image, *command[1:])  # fmt: skip
    return result.stdout.strip()


def importable(engine, image, *modules):
    code = "import sys, importlib.util as u; print(*[m for m in sys.argv[1:] if u.find_spec(m)])"
    return inside(engine, image, "python", "-c", code, *modules).split()


@pytest.mark.parametrize("image", IMAGES)
def test_images_run_as_a_non_root_user(images, image):
    config = json.loads(images.run("image", "inspect", image).stdout)[0]["Config"]
    assert config["User"] == "1000"
    assert inside(images, image, "id", "-u") == "1000"
    code = "import os, components; print(os.access(os.path.dirname(components.__file__), os.W_OK))"
    assert inside(images, image, "python", "-c", code) == "False"


@pytest.mark.parametrize("image", STAGE_IMAGES)
def test_stage_images_contain_kfp_and_have_no_entrypoint(images, image):
    assert not json.loads(images.run("image", "inspect", image).stdout)[0]["Config"]["Entrypoint"]
    assert importable(images, image, "kfp") == ["kfp"]


@pytest.mark.parametrize("image", IMAGES)
def test_every_package_has_its_locked_version(images, image):
    frozen = inside(images, image, "python", "-m", "pip", "freeze", "--all", "--exclude", "shoprank")
    installed = dict(re.fullmatch(r"([^= ]+)==(\S+)", line).groups() for line in frozen.splitlines())
    names = {name.lower().replace("_", "-"): version for name, version in installed.items()}
    base = {"pip", "setuptools", "wheel"}
    torch = {"torch", "triton", "filelock", "sympy", "mpmath", "networkx"}
    for name, version in names.items():
        if name in base or name.startswith(("nvidia-", "cuda-")) or (name in torch and name not in LOCKED):
            continue
        assert LOCKED.get(name) == version, f"{name} {version} is not what requirements.lock says"
    assert not {"hatchling", "pytest", "ruff", "basedpyright"} & set(names)


def test_each_image_contains_only_the_packages_of_its_stages(images):
    heavy = ("torch", "torchrec", "fbgemm_gpu", "kserve", "kfp", "onnxruntime", "faiss", "duckdb")
    assert importable(images, DATA_IMAGE, *heavy) == ["kfp", "duckdb"]
    assert importable(images, TRAIN_IMAGE, *heavy) == [
        "torch", "torchrec", "fbgemm_gpu", "kfp", "onnxruntime", "faiss", "duckdb",
    ]  # fmt: skip
    assert importable(images, SERVE_IMAGE, *heavy) == ["torch", "kserve", "kfp", "onnxruntime", "faiss"]
    assert importable(images, PREDICTOR_IMAGE, *heavy) == ["torch", "kserve", "onnxruntime", "faiss"]
    assert "g++" in inside(images, TRAIN_IMAGE, "sh", "-c", "command -v g++")


def test_images_contain_no_tests(images):
    code = "import components, pathlib; print(*pathlib.Path(components.__path__[0]).rglob('test_*.py'))"
    assert inside(images, DATA_IMAGE, "python", "-c", code) == ""
