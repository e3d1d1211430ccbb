"""Checks of the images that need no build; tests/containers builds and runs them."""

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from components.shared.images import DATA_IMAGE, PREDICTOR_IMAGE, SERVE_IMAGE, TRAIN_IMAGE
from tests.containers.building import IMAGES

ROOT = Path(__file__).parents[1]
FILES = {name: (ROOT / name).read_text() for name in ("components/Dockerfile", "serving/Dockerfile")}


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


LOCKED = {
    canonical(line.split("==")[0])
    for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line and not line.startswith("#")
}  # fmt: skip


def stages(text):
    """Lines of every build stage by its name, continuations joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("FROM "):
            found[line.split(" AS ")[1]] = []
        found[list(found)[-1]].append(line)
    return found


def test_both_dockerfiles_share_their_first_stages():
    ours, theirs = (stages(text) for text in FILES.values())
    assert ours["base"] == theirs["base"] and ours["code"] == theirs["code"]


def installs(text):
    """(arguments, packages) of every pip install."""
    for line in (line for lines in stages(text).values() for line in lines if "pip install" in line):
        arguments = line.split("pip install", 1)[1].split()
        yield arguments, [argument for argument in arguments if re.fullmatch(r"\w[\w-]*(==[\d.]+)?", argument)]


def with_dependencies(packages):
    """Names of the packages and of all their dependencies, by the metadata of the packages installed here."""
    found, waiting = set(), [Requirement(package) for package in packages]
    while waiting:
        package = waiting.pop()
        key = canonical(package.name), frozenset(package.extras)
        if key not in found:
            found.add(key)
            for needed in map(Requirement, importlib.metadata.requires(package.name) or []):
                if not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in package.extras or {""}):
                    waiting.append(needed)
    return {name for name, _ in found}


@pytest.mark.parametrize("name", FILES)
def test_every_package_of_an_image_is_locked(name):
    torch = with_dependencies(["torch"]) | {"setuptools"}  # the Makefile pins the one, the base image holds the other
    for arguments, packages in installs(FILES[name]):
        assert "-c" in arguments or "--no-build-isolation" in arguments
        needed = (
            {canonical(package) for package in packages} if "--no-deps" in arguments else with_dependencies(packages)
        )
        assert {package.split("==")[0] for package in needed} - torch <= LOCKED


@pytest.mark.parametrize("image", IMAGES)
def test_image_ends_with_the_code_and_a_non_root_user(image):
    dockerfile, target = IMAGES[image]
    assert image.rsplit("/", 1)[1].split(":")[0] == target
    lines = stages(FILES[dockerfile])[target]
    assert lines[lines.index("COPY --from=code /install /usr/local") + 1] == "USER 1000"
    assert any(line.startswith("ENTRYPOINT") for line in lines) == (image == PREDICTOR_IMAGE)


def test_predictor_images_with_and_without_torch_differ_only_in_torch():
    text = stages(FILES["serving/Dockerfile"])
    either, lean = text["predictor-packages"], text["predictor-onnx"]
    assert either[0] == "FROM onnx-packages AS predictor-packages"
    assert either[1:] == ["ARG PIP_FIND_LINKS", "RUN pip install -c requirements.lock torch==2.13.0"]
    assert "onnxruntime" in text["onnx-packages"][1] and "torch" not in text["onnx-packages"][1]
    assert lean[0] == "FROM onnx-packages AS predictor-onnx" and lean[1:] == text["predictor"][1:]
    assert text["prove"][0].startswith("FROM predictor-packages ")


def test_images_that_compile_and_run_native_code_have_the_same_torch():
    both = [arguments for text in FILES.values() for arguments, _ in installs(text)]
    wanted = {argument for arguments in both for argument in arguments if argument.startswith("torch==")}
    assert wanted == {f"torch=={importlib.metadata.version('torch').partition('+')[0]}"}
    assert any(
        "install -y --no-install-recommends g++" in line
        for line in stages(FILES["components/Dockerfile"])["train-packages"]
    )


def test_every_image_that_a_step_names_is_built():
    assert {DATA_IMAGE, TRAIN_IMAGE, SERVE_IMAGE, PREDICTOR_IMAGE} == set(IMAGES)
    compiled = (ROOT / "pipelines" / "compiled" / "training.yaml").read_text()
    assert set(re.findall(r"image: (\S+)", compiled)) == {DATA_IMAGE, TRAIN_IMAGE, SERVE_IMAGE}
