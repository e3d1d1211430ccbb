"""Smaller steps for small clusters, and runs without the cache."""

import pytest
import yaml

from components.shared.errors import InputError
from pipelines.compacting import tasks_of
from pipelines.compiling import COMPILED, PIPELINES
from pipelines.linting import lint
from pipelines.overrides import Overrides
from pipelines.tests.kfp_api import kfp_server


def resources(text):
    executors = next(yaml.safe_load_all(text))["deploymentSpec"]["executors"]
    return {name: one["container"].get("resources", {}) for name, one in executors.items() if "container" in one}


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_no_step_asks_for_more_and_nothing_else_changes(pipeline, tmp_path):
    compiled = COMPILED / f"{pipeline}.yaml"
    Overrides(max_cpu="2", max_memory="4Gi").write(compiled, tmp_path / "capped.yaml")
    text = (tmp_path / "capped.yaml").read_text()
    before, after = resources(compiled.read_text()), resources(text)
    assert before.keys() == after.keys() and lint(text) == []
    for name, one in after.items():
        assert one.get("resourceMemoryLimit", "4Gi") not in ("8Gi", "16Gi"), name
        assert one.get("resourceCpuLimit") != "4", name
        placeholders = {key: value for key, value in before[name].items() if "{{" in str(value)}
        assert placeholders.items() <= one.items(), "parameters stay"
    plain = [yaml.safe_load_all(compiled.read_text()), yaml.safe_load_all(text)]
    for one, other in zip(*plain, strict=True):
        for document in (one, other):
            for executor in document.get("deploymentSpec", {}).get("executors", {}).values():
                executor.get("container", {}).pop("resources", None)
        assert one == other


def test_smaller_steps_stay_as_they_are(tmp_path):
    Overrides(max_memory="64Gi").write(COMPILED / "training.yaml", tmp_path / "capped.yaml")
    assert resources((tmp_path / "capped.yaml").read_text()) == resources((COMPILED / "training.yaml").read_text())


def test_submit_sends_the_capped_pipeline(shoprank):
    with kfp_server() as api:
        done = shoprank("submit", "training", "--host", api.host, "--max-memory", "4Gi", "--max-cpu", "1500m")
    assert done.code == 0, done.err
    spec = api.runs[-1]["pipeline_spec"]["pipeline_spec"]
    sent = spec["deploymentSpec"]["executors"]["exec-compile-model"]["container"]["resources"]
    assert (sent["resourceMemoryRequest"], sent["resourceCpuLimit"]) == ("4Gi", "1500m")


def test_no_cache_reaches_every_step_of_runs_and_schedules(shoprank):
    def cached(sent):
        tasks = tasks_of(sent["pipeline_spec"]["pipeline_spec"])
        return sum(bool(task.get("cachingOptions", {}).get("enableCache")) for task in tasks)

    with kfp_server() as api:
        to = ("training", "--host", api.host)
        for words in (("submit", *to), ("submit", *to, "--no-cache")):
            assert shoprank(*words).code == 0
        for name, words in (("a", ()), ("b", ("--no-cache",))):
            assert shoprank("schedule", *to, "--every", "1d", "--name", name, *words).code == 0
    assert [cached(one) for one in api.runs] == [6, 0]
    assert [cached(one) for one in api.schedules] == [6, 0]


def test_what_is_no_quantity_is_refused(shoprank):
    with pytest.raises(InputError, match="--max-memory lots"):
        Overrides(max_memory="lots")
    done = shoprank("submit", "training", "--host", "http://127.0.0.1:9", "--max-cpu", "four")
    assert done.code == 2 and "--max-cpu four" in done.err
