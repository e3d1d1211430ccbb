"""A cap on the resources of steps, for small clusters."""

import pytest
import yaml

from components.shared.errors import InputError
from pipelines.capping import Cap
from pipelines.compiling import COMPILED, PIPELINES
from pipelines.linting import lint
from pipelines.tests.kfp_api import kfp_server


def resources(text):
    executors = next(yaml.safe_load_all(text))["deploymentSpec"]["executors"]
    return {name: one["container"].get("resources", {}) for name, one in executors.items() if "container" in one}


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_no_step_asks_for_more_and_nothing_else_changes(pipeline, tmp_path):
    compiled = COMPILED / f"{pipeline}.yaml"
    Cap(cpu="2", memory="4Gi").write(compiled, tmp_path / "capped.yaml")
    text = (tmp_path / "capped.yaml").read_text()
    before, after = resources(compiled.read_text()), resources(text)
    assert before.keys() == after.keys() and lint(text) == []
    for name, one in after.items():
        assert one.get("memoryLimit", 0) <= 4 * 1024**3 / 1e9 and one.get("cpuLimit", 0) <= 2, name
        assert one.get("resourceMemoryLimit", "4Gi") not in ("8Gi", "16Gi")
        placeholders = {key: value for key, value in before[name].items() if "{{" in str(value)}
        assert placeholders.items() <= one.items(), "parameters stay"
    plain = [yaml.safe_load_all(compiled.read_text()), yaml.safe_load_all(text)]
    for one, other in zip(*plain, strict=True):
        for document in (one, other):
            for executor in document.get("deploymentSpec", {}).get("executors", {}).values():
                executor.get("container", {}).pop("resources", None)
        assert one == other


def test_smaller_steps_stay_as_they_are(tmp_path):
    Cap(memory="64Gi").write(COMPILED / "training.yaml", tmp_path / "capped.yaml")
    assert resources((tmp_path / "capped.yaml").read_text()) == resources((COMPILED / "training.yaml").read_text())


def test_submit_sends_the_capped_pipeline(shoprank):
    with kfp_server() as api:
        done = shoprank("submit", "training", "--host", api.host, "--max-memory", "4Gi", "--max-cpu", "1500m")
    assert done.code == 0, done.err
    spec = api.runs[-1]["pipeline_spec"]["pipeline_spec"]
    sent = spec["deploymentSpec"]["executors"]["exec-compile-model"]["container"]["resources"]
    assert (sent["resourceMemoryRequest"], sent["resourceCpuLimit"], sent["cpuLimit"]) == ("4Gi", "1500m", 1.5)


def test_what_is_no_quantity_is_refused(shoprank):
    with pytest.raises(InputError, match="--max-memory lots"):
        Cap(memory="lots")
    done = shoprank("submit", "training", "--host", "http://127.0.0.1:9", "--max-cpu", "four")
    assert done.code == 2 and "--max-cpu four" in done.err
