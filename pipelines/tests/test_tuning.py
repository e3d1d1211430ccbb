"""The tuning pipeline as a cluster gets it."""

import pytest
import yaml

from components.tune_hyperparameters.config import TuningOptions
from pipelines.cli.running import STUDIES as MODELS
from pipelines.compiling import COMPILED
from pipelines.config import SECTIONS
from pipelines.linting import lint

TEXT = (COMPILED / "tuning.yaml").read_text()
SPECIFICATION, PLATFORM = yaml.safe_load_all(TEXT)
ROOT = SPECIFICATION["root"]["dag"]["tasks"]
LOOPS = {"for-loop-1": ("retriever", MODELS["retriever"]), "for-loop-2": ("ranker", MODELS["ranker"])}


def constant(task: dict, name: str):
    return task["inputs"]["parameters"][name].get("runtimeValue", {}).get("constant")


def inner(loop: str) -> dict:
    (task,) = SPECIFICATION["components"][ROOT[loop]["componentRef"]["name"]]["dag"]["tasks"].values()
    return task


def test_tuning_pipeline_has_no_lint_findings():
    assert lint(TEXT) == []


@pytest.mark.parametrize("loop", LOOPS)
def test_workers_share_a_study_and_one_step_closes_it(loop):
    model, closing = LOOPS[loop]
    worker, last = inner(loop), ROOT[closing]
    assert constant(worker, "model") == constant(last, "model") == model
    assert ROOT[loop]["parameterIterator"]["items"]["inputParameter"] == "pipelinechannel--workers"
    assert worker["inputs"]["parameters"]["worker"] == {"componentInputParameter": "pipelinechannel--workers-loop-item"}
    # The closing step waits for every worker and then takes over lost trials.
    assert last["inputs"]["parameters"]["ended"]["taskOutputParameter"]["producerTask"] == loop
    for name in ("tuning", "training", "retriever", "ranker", "seed", "size"):
        assert worker["inputs"]["parameters"][name] == {"componentInputParameter": f"pipelinechannel--{name}"}
        assert last["inputs"]["parameters"][name] == {"componentInputParameter": name}
    assert constant(last, "worker") == "last"
    assert "cachingOptions" not in worker and "cachingOptions" not in last, "never cached"


@pytest.mark.parametrize("parameter", ["gpus", "cpu", "memory"])
def test_loops_receive_the_resources_of_the_workers(parameter):
    channel = f"pipelinechannel--{parameter}"
    for loop in LOOPS:
        assert ROOT[loop]["inputs"]["parameters"][channel] == {"componentInputParameter": parameter}
        component = SPECIFICATION["components"][ROOT[loop]["componentRef"]["name"]]
        assert component["inputDefinitions"]["parameters"][channel]["parameterType"] == "STRING"


def test_ranker_is_tuned_on_the_retriever_with_the_best_hyperparameters():
    source = ROOT["train-retriever"]["inputs"]["parameters"]["hyperparameters"]["taskOutputParameter"]
    assert source == {"outputParameterKey": "Output", "producerTask": MODELS["retriever"]}
    assert ROOT["for-loop-2"]["dependentTasks"] == ["build-features", "train-retriever"]


def test_workers_mount_the_volume_of_the_study():
    executors = PLATFORM["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    tuning = [name for name in executors if name.startswith("exec-tune")]
    assert len(tuning) == 4
    for name in tuning:
        (mount,) = executors[name]["pvcMount"]
        assert TuningOptions().storage.startswith(f"{mount['mountPath']}/")


def test_training_accepts_tuned_hyperparameters():
    training, _ = yaml.safe_load_all((COMPILED / "training.yaml").read_text())
    for model in MODELS:
        given = training["root"]["dag"]["tasks"][f"train-{model}"]["inputs"]["parameters"][model]
        assert given == {"componentInputParameter": model}
        assert "hyperparameters" in SECTIONS[model].model_fields
