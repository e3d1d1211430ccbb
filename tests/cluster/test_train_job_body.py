"""The body of a TrainJob and the runtime it names: valid by schema, with all settings of the step."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from components.shared.cluster.train_job import job_name, train_job
from components.shared.errors import InputError
from components.shared.training.launch import KEPT_MEMORY, LaunchConfig, PodSettings
from tests import custom_resources
from tests.cluster.training_step import pod_with, settings, task_in


def test_body_contains_the_settings_of_the_step(tmp_path):
    task = task_in(tmp_path)
    body = train_job(task, settings(tmp_path, node_gpus=8, processes=8), job_name(task, "r"), "/x/job.json", 60)
    assert custom_resources.errors(body) == []
    trainer, (patch,) = body["spec"]["trainer"], body["spec"]["runtimePatches"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 8)
    assert trainer["resourcesPerNode"]["limits"] == {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "8"}
    assert {one["name"] for one in trainer["env"]} == {
        "AWS_REGION", "PYTHONUNBUFFERED", "TORCH_CPP_LOG_LEVEL", "OMP_NUM_THREADS", *KEPT_MEMORY,
    }  # fmt: skip
    (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod, given = node["template"]["spec"]["template"]["spec"], pod_with(tmp_path)
    assert node["name"] == pod["containers"][0]["name"] == "node"
    assert (pod["tolerations"], pod["volumes"]) == (list(given.tolerations), list(given.volumes))
    assert pod["nodeSelector"] == given.node_selector and "affinity" not in pod
    assert pod["containers"][0]["volumeMounts"] == list(given.volume_mounts)
    assert "nvidia.com/gpu" not in train_job(task, settings(tmp_path), "a", "/x", 6)["spec"]["trainer"][
        "resourcesPerNode"]["limits"], "a count of nothing is left out"  # fmt: skip
    bare = train_job(task, LaunchConfig(launch="trainjob"), "a", "s3://b/job.json", 60)
    assert custom_resources.errors(bare) == [] and bare["spec"]["runtimePatches"] == []
    own = PodSettings(env=[{"name": "MALLOC_TOP_PAD_", "value": "1"}])
    named = train_job(task, LaunchConfig(launch="trainjob", pod=own), "a", "/x", 6)["spec"]["trainer"]["env"]
    assert [one["value"] for one in named if one["name"] == "MALLOC_TOP_PAD_"] == ["1"], "what the step names stays"
    with pytest.raises(InputError, match="node_gpus is 2"):
        train_job(task, LaunchConfig(node_gpus=2), "a", "/x", 60)


def test_job_name_depends_on_the_digest_and_the_run(tmp_path):
    task = task_in(tmp_path)
    assert re.fullmatch(r"train-retriever-[0-9a-f]{10}", job_name(task, "run-1"))
    assert job_name(task, "run-1") == job_name(dataclasses.replace(task, settings={}), "run-1")
    others = [job_name(task, ""), job_name(task, "run-2"), job_name(dataclasses.replace(task, digest="f"), "run-1")]
    assert len({job_name(task, "run-1"), *others}) == 4


def test_training_runtime_is_valid_and_matches_the_train_job(tmp_path):
    path = Path(__file__).parents[2] / "manifests/cluster/cluster-training-runtime.yaml"
    runtime = yaml.safe_load(path.read_text())
    assert custom_resources.errors(runtime) == []
    body = train_job(task_in(tmp_path), LaunchConfig(), "a", "/x", 60)
    assert body["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    (node,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    pod = node["template"]["spec"]["template"]["spec"]
    assert node["name"] == pod["containers"][0]["name"] == "node"
    assert pod["containers"][0]["image"] == body["spec"]["trainer"]["image"]
