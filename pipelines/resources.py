"""What each step asks of the cluster: processor, memory, accelerator, retries, caching, volumes.

Set here and nowhere else.
"""

import os
from dataclasses import dataclass
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.pipeline_channel import PipelineChannel

REGISTRY_VOLUME = "shoprank-registry"
"""Claim of the volume that holds the registry, the signing key and lasting checkpoints; shared by all runs."""

REGISTRY_MOUNT = "/mnt/shoprank"
"""Where steps see that volume."""

GPU = "nvidia.com/gpu"

OBJECT_STORE_SECRET = "shoprank-object-store"
"""Secret, absent where no object store is used, whose keys are the variables below; a TrainJob's nodes get it too."""

_OBJECT_STORE = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")

RETRIES_VARIABLE = "SHOPRANK_RETRIES"
"""Environment variable that overrides every step's retries. A local run sets 0: KFP's local runner would wait half a
minute before it tells a person, again, that a file does not exist."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Resources of one step."""

    cpu: str
    """Processor limit; half of it is requested."""
    memory: str
    """Memory limit and request: a step killed for memory half-way is worse than one that waits."""
    gpus: int = 0
    """Accelerators; a step that asks for some tolerates the taint of their nodes."""
    retries: int = 2
    """Retries with exponential back-off."""
    cached: bool = True
    """Whether KFP may reuse an earlier result of the same inputs."""
    registry: bool = False
    """Whether the step sees the registry's volume."""


DATA = Profile(cpu="4", memory="8Gi")
CHECK = Profile(cpu="1", memory="4Gi", registry=True, cached=False)
"""Sees the volume, because what tuning found may lie there, and is not cached, because it may change there."""
SOURCE = Profile(cpu="4", memory="8Gi", cached=False)
"""Reading from outside: what lies behind a URI may change while the URI does not."""
TRAIN = Profile(cpu="8", memory="32Gi", gpus=1, registry=True, cached=False)
"""Never cached: it may launch a TrainJob, and KFP's cache hands out artifacts that were deleted (pipelines #7939)."""
TUNE = Profile(cpu="8", memory="32Gi", gpus=1, registry=True, cached=False)
"""Never cached: the study on the volume grows under the same name."""
EVALUATE = Profile(cpu="4", memory="16Gi", registry=True, cached=False)
"""Never cached: the champion it compares with changes under the same name."""
COMPILE = Profile(cpu="4", memory="16Gi")
SERVE = Profile(cpu="2", memory="4Gi", cached=False)
REFRESH = Profile(cpu="2", memory="8Gi", cached=False, registry=True)
RELEASE = Profile(cpu="1", memory="2Gi", cached=False, registry=True)
ROLLOUT = Profile(cpu="1", memory="2Gi", cached=False, registry=True, retries=5)
"""Lives for as long as the rollout takes; a retry goes on where it stood, so one lost pod is no lost day."""
GATE = Profile(cpu="1", memory="512Mi", cached=False)


def apply(task: dsl.PipelineTask, profile: Profile, gpus: Any = None) -> dsl.PipelineTask:
    """Set a profile on a task and return the task.

    Args:
        task: A task of a pipeline.
        profile: What it asks for.
        gpus: A pipeline parameter that says how many accelerators, in place of the profile's number. A training task
            hands its settings on to the nodes of a TrainJob (dsl.TaskConfig), so its own pod may do with none.
    """
    task.set_cpu_limit(profile.cpu).set_cpu_request(_half(profile.cpu))
    task.set_memory_limit(profile.memory).set_memory_request(profile.memory)
    task.set_caching_options(profile.cached)
    retries = int(os.environ.get(RETRIES_VARIABLE, profile.retries))
    task.set_retry(num_retries=retries, backoff_duration="30s", backoff_factor=2.0)
    if profile.gpus:
        task.set_accelerator_type(GPU).set_accelerator_limit(profile.gpus if gpus is None else gpus)
        if isinstance(gpus, PipelineChannel):
            # Else a loop around the task is not given the parameter (kfp 2.17), and no iteration finds it.
            task.register_pipeline_channels([gpus])
        kubernetes.add_toleration(task, key=GPU, operator="Exists", effect="NoSchedule")
        kubernetes.empty_dir_mount(task, volume_name="dshm", mount_path="/dev/shm", medium="Memory", size_limit="8Gi")
        # A TrainJob is named after its run, so that a retried step finds its own again.
        kubernetes.use_field_path_as_env(task, env_name="KFP_RUN_ID", field_path="metadata.labels['pipeline/runid']")
        for name in _OBJECT_STORE:
            kubernetes.use_secret_as_env(task, OBJECT_STORE_SECRET, {name: name}, optional=True)
    if profile.registry:
        kubernetes.mount_pvc(task, pvc_name=REGISTRY_VOLUME, mount_path=REGISTRY_MOUNT)
    return task


def _half(cpu: str) -> str:
    return f"{int(cpu) * 500}m"
