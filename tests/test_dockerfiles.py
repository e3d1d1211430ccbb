"""What of the images can be checked without building them; tests/containers builds and runs them."""

import re
from pathlib import Path

import pytest

from components.shared.images import DATA_IMAGE, PREDICTOR_IMAGE, SERVE_IMAGE, TRAIN_IMAGE
from tests.containers.building import IMAGES

ROOT = Path(__file__).parents[1]
FILES = {name: (ROOT / name).read_text() for name in ("components/Dockerfile", "serving/Dockerfile")}
LOCKED = {
    re.sub(r"[-_.]+", "-", line.split("==")[0]).lower()
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


def test_both_files_share_their_first_stages_word_for_word():
    ours, theirs = (stages(text) for text in FILES.values())
    assert ours["base"] == theirs["base"] and ours["code"] == theirs["code"]


@pytest.mark.parametrize("name", FILES)
def test_packages_are_locked(name):
    for line in (line for lines in stages(FILES[name]).values() for line in lines if "pip install" in line):
        words = line.split("pip install", 1)[1].split()
        packages = [word for word in words if re.fullmatch(r"[\w-]+", word) and not word.startswith("-")]
        assert "-c" in words or "--no-build-isolation" in words, line
        assert {re.sub(r"[-_.]+", "-", package).lower() for package in packages} <= LOCKED


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_ends_with_code_and_an_ordinary_user(image):
    dockerfile, target = IMAGES[image]
    assert image.rsplit("/", 1)[1].split(":")[0] == target
    lines = stages(FILES[dockerfile])[target]
    assert lines[lines.index("COPY --from=code /install /usr/local") + 1] == "USER 1000"
    assert any(line.startswith("ENTRYPOINT") for line in lines) == (image == PREDICTOR_IMAGE)


def test_every_image_that_a_step_names_is_built():
    assert {DATA_IMAGE, TRAIN_IMAGE, SERVE_IMAGE, PREDICTOR_IMAGE} == set(IMAGES)
    compiled = (ROOT / "pipelines" / "compiled" / "training.yaml").read_text()
    assert set(re.findall(r"image: (\S+)", compiled)) == {DATA_IMAGE, TRAIN_IMAGE, SERVE_IMAGE}
