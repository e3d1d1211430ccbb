"""What each step asks of the cluster: processor, memory, accelerator, retries, caching, volumes.

Set here and nowhere else.
"""

import os
from dataclasses import dataclass

from kfp import dsl, kubernetes

REGISTRY_VOLUME = "shoprank-registry"
"""Claim of the volume that holds the registry, the signing key and lasting checkpoints; shared by all runs."""

REGISTRY_MOUNT = "/mnt/shoprank"
"""Where steps see that volume."""

GPU = "nvidia.com/gpu"

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
SOURCE = Profile(cpu="4", memory="8Gi", cached=False)
"""Reading from outside: what lies behind a URI may change while the URI does not."""
TRAIN = Profile(cpu="8", memory="32Gi", gpus=1, registry=True)
EVALUATE = Profile(cpu="4", memory="16Gi", registry=True, cached=False)
"""Never cached: the champion it compares with changes under the same name."""
COMPILE = Profile(cpu="4", memory="16Gi")
SERVE = Profile(cpu="2", memory="4Gi", cached=False)
RELEASE = Profile(cpu="1", memory="2Gi", cached=False, registry=True)
GATE = Profile(cpu="1", memory="512Mi", cached=False)


def apply(task: dsl.PipelineTask, profile: Profile) -> dsl.PipelineTask:
    """Set a profile on a task and return the task."""
    task.set_cpu_limit(profile.cpu).set_cpu_request(_half(profile.cpu))
    task.set_memory_limit(profile.memory).set_memory_request(profile.memory)
    task.set_caching_options(profile.cached)
    retries = int(os.environ.get(RETRIES_VARIABLE, profile.retries))
    task.set_retry(num_retries=retries, backoff_duration="30s", backoff_factor=2.0)
    if profile.gpus:
        task.set_accelerator_type(GPU).set_accelerator_limit(profile.gpus)
        kubernetes.add_toleration(task, key=GPU, operator="Exists", effect="NoSchedule")
        kubernetes.empty_dir_mount(task, volume_name="dshm", mount_path="/dev/shm", medium="Memory", size_limit="8Gi")
    if profile.registry:
        kubernetes.mount_pvc(task, pvc_name=REGISTRY_VOLUME, mount_path=REGISTRY_MOUNT)
    return task


def _half(cpu: str) -> str:
    return f"{int(cpu) * 500}m"
