"""What the nodes of a TrainJob are given: their own resources, and the image and pull secret of the step."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.shared.cluster.train_job import train_job
from components.shared.errors import InputError
from components.shared.images import TRAIN_IMAGE
from components.shared.training.launch import LaunchConfig, PodSettings, TrainingOptions, WorkerTask
from tests import custom_resources

ROOT = Path(__file__).parents[3]
TASK = WorkerTask(stage="train_ranker", module="m", digest="d", settings={}, inputs={}, results=())
WAITING = PodSettings.of(
    {
        "resources": {
            "requests": {"cpu": "250m", "memory": "1Gi"},
            "limits": {"cpu": "250m", "memory": "1Gi", "nvidia.com/gpu": "0"},
        }
    }
)


def trainer(**options):
    body = train_job(TASK, LaunchConfig(launch="trainjob", pod=WAITING, **options), "a", "s3://b/job.json", 60)
    assert custom_resources.errors(body) == []
    return body["spec"]["trainer"]


@pytest.mark.skipif(not custom_resources.FOLDER.is_dir(), reason=f"no CRDs in {custom_resources.FOLDER}")
def test_nodes_have_their_own_resources_and_not_those_of_the_step_that_waits():
    assert trainer()["resourcesPerNode"] == {key: {"cpu": "8", "memory": "32Gi"} for key in ("requests", "limits")}
    found = trainer(node_cpu="16", node_memory="200Gi", node_gpus=4)["resourcesPerNode"]
    assert found["requests"] == {"cpu": "16", "memory": "200Gi"}
    assert found["limits"] == {"cpu": "16", "memory": "200Gi", "nvidia.com/gpu": "4"}
    assert trainer()["image"] == TRAIN_IMAGE


@pytest.mark.parametrize(
    ("given", "headline"),
    [({"node_cpu": "many"}, "training.node_cpu is 'many'"), ({"node_memory": 32}, "training.node_memory is 32")],
)
def test_resources_of_the_nodes_are_checked_by_their_path(given, headline):
    with pytest.raises(InputError) as raised:
        TrainingOptions.read(given, "training")
    assert raised.value.headline == headline and "as a string" in raised.value.fix


def test_nodes_run_the_image_of_the_step_and_pull_it_with_its_secret():
    """The step's container has the variables of the compilation (pipelines/resources.py)."""
    code = """
import json
from components.shared.tests.test_train_job import TASK
from components.shared.cluster.train_job import train_job
from components.shared.training.launch import LaunchConfig
print(json.dumps(train_job(TASK, LaunchConfig(launch="trainjob"), "a", "s3://b/job.json", 60)["spec"]))
"""
    chosen = {"SHOPRANK_IMAGE_REGISTRY": "registry.example/acme", "SHOPRANK_IMAGE_TAG": "9",
              "SHOPRANK_IMAGE_PULL_SECRET": "acme-pull"}  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **chosen}, capture_output=True,
                          text=True, check=True)  # fmt: skip
    found = json.loads(done.stdout)
    assert found["trainer"]["image"] == "registry.example/acme/train:9"
    (node,) = found["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert node["template"]["spec"]["template"]["spec"] == {"imagePullSecrets": [{"name": "acme-pull"}]}
