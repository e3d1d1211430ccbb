"""What a second run skips: KFP's cache key of each step, and a run with the cache of KFP's local runner."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.compacting import tasks_of
from pipelines.compiling import COMPILED

SPECIFICATION, PLATFORM = yaml.safe_load_all((COMPILED / "training.yaml").read_text())
CACHED = ["ingest-events", "validate-data", "build-features", "train-retriever", "train-ranker", "compile-model"]
FILES = {"ingest_events", "validate_data", "train_retriever", "train_ranker"}
"""Outputs of check-parameters."""


def keys():
    """Step -> (parameters of the pipeline or outputs of another step, steps whose artifacts) that enter its cache key.

    KFP's key holds the values of the inputs, the names of the input artifacts (new for a step that ran, the old ones
    for a step that was skipped), image, command and the claims: backend/src/v2/cacheutils/cache.go.
    """
    found = {}

    def walk(component, outer):
        for name, task in component["dag"]["tasks"].items():
            inner, artifacts = {}, {}
            for parameter, given in task.get("inputs", {}).get("parameters", {}).items():
                if "componentInputParameter" in given:
                    inner[parameter] = outer[0][given["componentInputParameter"]]
                elif "taskOutputParameter" in given:
                    one = given["taskOutputParameter"]
                    inner[parameter] = f"{one['producerTask']}.{one['outputParameterKey']}"
            for artifact, given in task.get("inputs", {}).get("artifacts", {}).items():
                artifacts[artifact] = (
                    given["taskOutputArtifact"]["producerTask"]
                    if "taskOutputArtifact" in given
                    else outer[1][given["componentInputArtifact"]]
                )
            component_of = SPECIFICATION["components"][task["componentRef"]["name"]]
            if "dag" in component_of:
                walk(component_of, (inner, artifacts))
            else:
                found[name] = (set(inner.values()), set(artifacts.values()), task.get("cachingOptions", {}))

    root = SPECIFICATION["root"]
    walk(root, ({name: name for name in root["inputDefinitions"]["parameters"]}, {}))
    return found


def steps_that_run_again(changed):
    """Cached steps that run although nothing but `changed` differs from an earlier run."""
    running = []
    for name in CACHED:
        values, artifacts, caching = keys()[name]
        assert caching == {"enableCache": True}
        if changed in values or any(producer in running or producer not in CACHED for producer in artifacts):
            running.append(name)
    return running


def test_the_cached_steps_are_all_that_neither_check_nor_release():
    assert {name for name, (_, _, caching) in keys().items() if caching.get("enableCache")} == set(CACHED)
    assert len(list(tasks_of(SPECIFICATION))) > len(CACHED)


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        (None, None), ("source", "ingest-events"), ("check-parameters.ingest_events", "ingest-events"),
        ("data", "ingest-events"), ("check-parameters.validate_data", "validate-data"), ("features", "build-features"),
        ("retriever", "train-retriever"), ("seed", "train-retriever"), ("gpus", "train-retriever"),
        ("check-parameters.train_retriever", "train-retriever"), ("ranker", "train-ranker"),
        ("check-parameters.train_ranker", "train-ranker"), ("compile", "compile-model"), ("evaluation", None),
        ("release", None), ("rollout", None), ("strategy", None), ("model_name", None), ("signing_key", None),
    ],
)  # fmt: skip
def test_steps_run_again_from_the_first_that_reads_the_change(changed, first):
    expected = CACHED[CACHED.index(first) :] if first else []
    assert steps_that_run_again(changed) == expected


def test_every_fingerprint_enters_the_key_of_its_step():
    for name in FILES:
        assert f"check-parameters.{name}" in keys()[name.replace("_", "-")][0]
    outputs = SPECIFICATION["components"]["comp-check-parameters"]["outputDefinitions"]["parameters"]
    assert outputs.keys() == FILES
    # An uncached step in front gives its outputs anew, but their values are those of before.
    assert not keys()["check-parameters"][2]


RUN = """
import sys, warnings
warnings.simplefilter("ignore")
from kfp import dsl, local
from components.check_parameters.component import check_parameters
from pipelines import resources
from pipelines.preparation import prepare
from pipelines.resources import apply

@dsl.pipeline(name="prepared")
def prepared(source: str, features: dict = {}):
    checked = apply(check_parameters(source=source, size="tiny", features=features), resources.CHECK)
    prepare(source, "tiny", {}, features, checked)

folder, run, interests = sys.argv[1:]
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=f"{folder}/{run}", enable_caching=True,
           cache_root=f"{folder}/cache", raise_on_error=True)
prepared(source=f"{folder}/events", features={"max_history": int(interests)})
"""


def test_a_second_local_run_skips_up_to_the_first_change(tmp_path):
    rows = [f"u{user},i{(user + day) % 10},purchase,{1709251200 + day * 86400 + user * 60}"
            for day in range(60) for user in range(20)]  # fmt: skip
    events = tmp_path / "events" / "a.csv"
    events.parent.mkdir()
    events.write_text("\n".join(["user_id,item_id,event_type,timestamp", *rows]) + "\n")

    def ran(run, history=20):
        """Steps of a run that have a folder of their own."""
        command = [sys.executable, "-c", RUN, tmp_path, run, str(history)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        for entry in (tmp_path / "cache").glob("*.json"):
            # The local cache, unlike a cluster's, misses where an artifact has no file, such as metrics.
            for uri in re.findall(r'"uri": "([^"]+)"', entry.read_text()):
                Path(uri).exists() or Path(uri).touch()
        return {path.name for path in (tmp_path / run).glob("*/*")}

    always = {"check-parameters"}
    assert ran("first") == always | {"ingest-events", "validate-data", "build-features"}
    assert ran("second") == always
    assert ran("option", history=30) == always | {"build-features"}
    with events.open("a") as stream:
        stream.write("u1,i3,purchase,1714521600\n")
    assert ran("data") == always | {"ingest-events", "validate-data", "build-features"}
