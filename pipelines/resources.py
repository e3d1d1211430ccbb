"""Resource profiles of the steps: CPU, memory, accelerators, retries, caching and volumes."""

import os
from dataclasses import dataclass
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.pipeline_channel import PipelineChannel

REGISTRY_VOLUME = "shoprank-registry"
"""PersistentVolumeClaim with the registry, signing key and persistent checkpoints; shared by all runs."""

REGISTRY_MOUNT = "/mnt/shoprank"
"""Mount path of that volume."""

GPU = "nvidia.com/gpu"

OBJECT_STORE_SECRET = "shoprank-object-store"
"""Optional Secret with credentials of an object store; its keys are the variables below. Also set in TrainJobs."""

_OBJECT_STORE = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")

RETRIES_VARIABLE = "SHOPRANK_RETRIES"
"""Environment variable that overrides every step's retries. A local run sets 0, so that errors
such as a missing file are reported at once instead of after a back-off of 30 seconds."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Resources of one step."""

    cpu: str
    """CPU limit; half of it is requested."""
    memory: str
    """Memory limit and request, equal so that a step is not killed for memory on a crowded node."""
    gpus: int = 0
    """Number of accelerators; a step that requests any also tolerates the taint of their nodes."""
    retries: int = 2
    """Retries with exponential back-off."""
    cached: bool = True
    """Whether KFP may reuse an earlier result of the same inputs."""
    registry: bool = False
    """Whether the registry's volume is mounted."""


DATA = Profile(cpu="4", memory="8Gi")
CHECK = Profile(cpu="1", memory="4Gi", registry=True, cached=False)
"""Mounts the volume because results of tuning may be stored there; not cached because they may change."""
SOURCE = Profile(cpu="4", memory="8Gi", cached=False)
"""Not cached: the content behind a URI may change."""
TRAIN = Profile(cpu="8", memory="32Gi", gpus=1, registry=True, cached=False)
"""Never cached: it may launch a TrainJob, and KFP's cache may return deleted artifacts (pipelines #7939)."""
TUNE = Profile(cpu="8", memory="32Gi", gpus=1, registry=True, cached=False)
"""Never cached: the study on the volume grows under the same name."""
EVALUATE = Profile(cpu="4", memory="16Gi", registry=True, cached=False)
"""Never cached: the champion for comparison changes under the same name."""
COMPILE = Profile(cpu="4", memory="16Gi")
SERVE = Profile(cpu="2", memory="4Gi", cached=False)
REFRESH = Profile(cpu="2", memory="8Gi", cached=False, registry=True)
RELEASE = Profile(cpu="1", memory="2Gi", cached=False, registry=True)
ROLLOUT = Profile(cpu="1", memory="2Gi", cached=False, registry=True, retries=5)
"""Runs for as long as the rollout takes; a retry resumes it after the loss of a pod."""
GATE = Profile(cpu="1", memory="512Mi", cached=False)


def apply(task: dsl.PipelineTask, profile: Profile, gpus: Any = None) -> dsl.PipelineTask:
    """Set a profile on a task and return the task.

    Args:
        task: A task of a pipeline.
        profile: Resources to set.
        gpus: Pipeline parameter with the number of accelerators, instead of the profile's. A training task passes its
            settings on to the nodes of a TrainJob (dsl.TaskConfig), so its own pod may need none.
    """
    task.set_cpu_limit(profile.cpu).set_cpu_request(_half(profile.cpu))
    task.set_memory_limit(profile.memory).set_memory_request(profile.memory)
    task.set_caching_options(profile.cached)
    retries = int(os.environ.get(RETRIES_VARIABLE, profile.retries))
    task.set_retry(num_retries=retries, backoff_duration="30s", backoff_factor=2.0)
    if profile.gpus:
        task.set_accelerator_type(GPU).set_accelerator_limit(profile.gpus if gpus is None else gpus)
        if isinstance(gpus, PipelineChannel):
            # Otherwise a surrounding loop does not pass the parameter to its iterations (kfp 2.17).
            task.register_pipeline_channels([gpus])
        kubernetes.add_toleration(task, key=GPU, operator="Exists", effect="NoSchedule")
        kubernetes.empty_dir_mount(task, volume_name="dshm", mount_path="/dev/shm", medium="Memory", size_limit="8Gi")
        # TrainJobs are named after the run, so that a retried step finds the job that it created.
        kubernetes.use_field_path_as_env(task, env_name="KFP_RUN_ID", field_path="metadata.labels['pipeline/runid']")
        for name in _OBJECT_STORE:
            kubernetes.use_secret_as_env(task, OBJECT_STORE_SECRET, {name: name}, optional=True)
    if profile.registry:
        kubernetes.mount_pvc(task, pvc_name=REGISTRY_VOLUME, mount_path=REGISTRY_MOUNT)
    return task


def _half(cpu: str) -> str:
    return f"{int(cpu) * 500}m"
