"""The README says what is true: its tree, its files, its commands, its generated parts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.compiling import pipeline_named

ROOT = Path(__file__).parents[1]
MEASURED = [
    "quality-complete-journey",
    "quality-online-retail-ii",
    "bench",
    "rollouts",
    "rollout-load",
    "compression",
    "scale",
    "throughput",
    "throughput-compiled",
    "throughput-bfloat16",
    "throughput-rounds",
    "ablation",
    "ablation-in-batch",
    "tuning",
    "tuning-retriever",
    "tuning-ranker",
    "architectures",
    "refit",
]
MEASURED += [f"benchmark-{kind}" for kind in ("leave_one_out", "sessions", "sets")]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def part(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.DOTALL)
    assert found, f"README has no part '{name}'"
    return found[1].strip()


def test_every_link_leads_to_a_file():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len([link for link in links if link.endswith(".py")]) >= 5
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_every_command_exists():
    helps = {}
    for line in re.findall(r"^shoprank (\w+)(.*)$", README, re.MULTILINE):
        word, rest = line
        if word not in helps:
            command = [sys.executable, "-c", "from pipelines.cli.app import main; main()", word, "--help"]
            helps[word] = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for flag in re.findall(r"--[\w-]+", rest.split("#")[0]):
            assert flag in helps[word], f"shoprank {word} has no {flag}"
    targets = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", targets, re.MULTILINE)


def test_every_argument_is_one_that_a_pipeline_takes():
    known = set().union(*(pipeline_named(name).component_spec.inputs or {} for name in ("training", "tuning")))
    given = re.findall(r"--arg '?(\w+)=", README)
    assert len(given) > 10 and set(given) <= known
    assert re.findall(r"`-\w [^`]*`", README) == [], "options have long names only"


@pytest.mark.parametrize("name", ["demo", *MEASURED])
def test_measured_parts_are_filled(name):
    assert len(part(name)) > 200


@pytest.mark.parametrize("name", MEASURED)
def test_measurements_say_how_they_were_made(name):
    assert re.search(r"`(make|python -m) [^`]+`, commit [0-9a-f]{12}, \d+ cores of .*, \d{4}-\d\d-\d\d", part(name))
