"""The tuning pipeline as a cluster gets it, the proof's arithmetic, and the command's refusals."""

import subprocess
import sys

import numpy as np
import pytest
import yaml

from components.shared.errors import InputError
from pipelines.cli.tune import MODELS
from pipelines.compiling import COMPILED
from pipelines.linting import lint
from tests.benchmarks.quality.shops import shops
from tests.benchmarks.quality.tuning import Proof, compared, facts, table

TEXT = (COMPILED / "tuning.yaml").read_text()
SPECIFICATION, PLATFORM = yaml.safe_load_all(TEXT)
ROOT = SPECIFICATION["root"]["dag"]["tasks"]
LOOPS = {"for-loop-1": ("retriever", MODELS["retriever"]), "for-loop-2": ("ranker", MODELS["ranker"])}


def constant(task: dict, name: str):
    return task["inputs"]["parameters"][name].get("runtimeValue", {}).get("constant")


def inner(loop: str) -> dict:
    (task,) = SPECIFICATION["components"][ROOT[loop]["componentRef"]["name"]]["dag"]["tasks"].values()
    return task


def test_nothing_speaks_against_it():
    assert lint(TEXT) == []


@pytest.mark.parametrize("loop", LOOPS)
def test_workers_share_a_study_and_one_step_closes_it(loop):
    model, closing = LOOPS[loop]
    worker, last = inner(loop), ROOT[closing]
    assert constant(worker, "model") == constant(last, "model") == model
    assert ROOT[loop]["parameterIterator"]["items"]["inputParameter"] == "pipelinechannel--workers"
    assert worker["inputs"]["parameters"]["worker"] == {"componentInputParameter": "pipelinechannel--workers-loop-item"}
    # Every worker answers, and only then the last one takes over what was lost.
    assert last["inputs"]["parameters"]["ended"]["taskOutputParameter"]["producerTask"] == loop
    for name in ("storage", "study", "pruning", "objective", "seed", "processes", "size"):
        assert worker["inputs"]["parameters"][name] == {"componentInputParameter": f"pipelinechannel--{name}"}
        assert last["inputs"]["parameters"][name] == {"componentInputParameter": name}
    assert constant(last, "worker") == "last"
    assert not worker["cachingOptions"].get("enableCache") and not last["cachingOptions"].get("enableCache")


def test_the_loops_are_given_the_number_of_gpus():
    for loop in LOOPS:
        assert ROOT[loop]["inputs"]["parameters"]["pipelinechannel--gpus"] == {"componentInputParameter": "gpus"}
        assert SPECIFICATION["components"][ROOT[loop]["componentRef"]["name"]]["inputDefinitions"]["parameters"][
            "pipelinechannel--gpus"
        ]


def test_the_ranker_is_tuned_on_the_retriever_that_was_trained_with_the_best():
    handed = ROOT["train-retriever"]["inputs"]["parameters"]["hyperparameters"]["taskOutputParameter"]
    assert handed == {"outputParameterKey": "Output", "producerTask": MODELS["retriever"]}
    assert ROOT["for-loop-2"]["dependentTasks"] == ["build-features", "train-retriever"]


def test_workers_see_the_volume_that_keeps_the_study():
    executors = PLATFORM["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    tuning = [name for name in executors if name.startswith("exec-tune")]
    assert len(tuning) == 4
    for name in tuning:
        (mount,) = executors[name]["pvcMount"]
        storage = SPECIFICATION["root"]["inputDefinitions"]["parameters"]["storage"]["defaultValue"]
        assert storage.startswith(f"{mount['mountPath']}/")


def test_training_takes_what_tuning_found():
    training, _ = yaml.safe_load_all((COMPILED / "training.yaml").read_text())
    for model in MODELS:
        given = training["root"]["dag"]["tasks"][f"train-{model}"]["inputs"]["parameters"]["hyperparameters"]
        assert given == {"componentInputParameter": f"{model}_hyperparameters"}
        assert training["root"]["inputDefinitions"]["parameters"][f"{model}_hyperparameters"]["defaultValue"] == ""


@pytest.mark.parametrize(
    ("words", "headline", "mend"),
    [
        (("run", "tuning"), "PIPELINE is 'tuning'", "shoprank tune"),
        (("tune", "--size", "huge"), "size is 'huge'", "tiny, small, full"),
        (("tune", "--arg", "nope=1"), "--arg nope=1", "ranker_trials"),
    ],
)
def test_a_users_mistake_is_a_headline_and_a_mend(words, headline, mend, tmp_path):
    command = [sys.executable, "-c", "from pipelines.cli.app import main; main()", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert done.returncode == 2 and headline in done.stderr and mend in done.stderr
    assert "Traceback" not in done.stderr + done.stdout and not list(tmp_path.iterdir())


def test_the_proof_pairs_shoppers_and_averages_seeds():
    random = np.random.default_rng(1)
    base = random.random((2, 400))
    better = base + 0.1 + random.normal(0.0, 0.01, (2, 400))
    found = compared([*base, *better])
    assert found["test"]["defaults"] == pytest.approx(base.mean(1)) and found["shoppers"] == 400
    assert found["difference"]["mean"] == pytest.approx((better - base).mean())
    assert 0.099 < found["difference"]["low"] < found["difference"]["mean"] < found["difference"]["high"] < 0.102
    same = compared([*base, *base])["difference"]
    assert (same["mean"], same["low"], same["high"]) == (0.0, 0.0, 0.0)
    # Noise between shoppers is not taken for a gain.
    none = compared([*base, *random.random((2, 400))])["difference"]
    assert none["low"] < 0.0 < none["high"]


def test_the_proof_takes_the_data_that_there_is(tmp_path):
    assert [shop.name for shop in shops(None)] == ["Complete Journey"]
    with pytest.raises(InputError, match="--data"):
        shops(tmp_path)
    (tmp_path / "online_retail_ii").mkdir()
    (tmp_path / "online_retail_ii" / "online_retail_ii.parquet").touch()
    assert [shop.name for shop in shops(tmp_path)] == ["Complete Journey", "Online Retail II"]


def test_the_proofs_table_says_every_number():
    found = {
        "test": {"defaults": [0.1, 0.2], "tuned": [0.2, 0.3]}, "shoppers": 9,
        "difference": {"mean": 0.1, "low": 0.05, "high": 0.15}, "validation": {"defaults": [0.3], "tuned": [0.4]},
    }  # fmt: skip
    line = table({"a shop": {"validation_recall_at_20": found}}).splitlines()[-1]
    assert line == ("| a shop | retriever: recall@20 | 0.3000 ± 0.0000 | 0.4000 ± 0.0000 | 0.1500 ± 0.0707 "
                    "| 0.2500 ± 0.0707 | +0.1000 [+0.0500, +0.1500], +67% |")  # fmt: skip


def test_the_proof_says_how_its_figures_were_found():
    results = {"a shop": {"validation_recall_at_20": {"shoppers": 1234}}}
    said = facts(Proof(size="small", trials=7, seeds=(0, 1)), results)
    assert all(part in said for part in ("7 trials", "its best 3", "with 2 seeds", "(1,234 of a shop)"))
    assert "with 2 more" not in facts(Proof(size="small", trials=7, seeds=(0,), finalists=0), results)
