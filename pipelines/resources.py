"""Resource profiles of the steps: CPU, memory, accelerators, retries, caching and volumes."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.pipeline_channel import PipelineChannel

from components.shared import images
from components.shared.quantities import StepResources
from components.shared.release.signing import PRIVATE_FILE, PUBLIC_VARIABLE

REGISTRY_VOLUME = "shoprank-registry"
"""PersistentVolumeClaim with the registry and persistent checkpoints; shared by all runs."""

REGISTRY_MOUNT = "/mnt/shoprank"
"""Mount path of that volume."""

GPU = "nvidia.com/gpu"

OBJECT_STORE_SECRET = "shoprank-object-store"
"""Optional Secret with credentials of an object store; its keys are the variables below. Also set in TrainJobs."""

_OBJECT_STORE = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")

KEY_NAME = "shoprank-signing-key"
"""Secret with signing.pem and signing.pem.pub, and ConfigMap with signing.pem.pub (`shoprank keys create`)."""

SIGNING_KEY = f"/etc/shoprank/signing/{PRIVATE_FILE}"
"""The private key of the Secret; only the step that signs mounts it."""

PUBLIC_KEY = f"/etc/shoprank/trusted/{PRIVATE_FILE}.pub"
"""The public key of the ConfigMap, which predictors trust too; never from the registry's volume."""

RETRIES_VARIABLE = "SHOPRANK_RETRIES"
"""Environment variable that overrides every step's retries. A local run sets 0, so that errors
such as a missing file are reported at once instead of after a back-off of 30 seconds."""

USER = 1000
"""User and group of every step, as in the images; Pod Security `restricted` admits no step that may be root."""

OWN = StepResources()
"""Resources of a training step's pod, where a run does not choose others."""

DAY, FORTNIGHT = "86400s", "1209600s"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Resources of one step."""

    cpu: str
    """CPU limit; half of it is requested."""
    memory: str
    """Memory limit and request, equal so that a step is not killed for memory on a crowded node."""
    trains: bool = False
    """Whether it trains, in its pod or as a TrainJob; requests accelerators and tolerates the taint of their nodes."""
    retries: int = 2
    """Retries with exponential back-off."""
    retried_for: str = DAY
    """Time since the first start in which the step may be retried; Argo also ends a retry that runs beyond it."""
    cached: bool = True
    """Whether KFP may reuse an earlier result of the same inputs; the artifacts may be deleted since (pipelines #7939),
    for which `shoprank submit` has --no-cache."""
    registry: bool = False
    """Whether the registry's volume is mounted, and the object store's credentials are set."""
    verifies: bool = False
    """Whether the public key is mounted."""
    signs: bool = False
    """Whether the private key is mounted."""
    checks_keys: bool = False
    """Whether the public half of the Secret is set, to compare it before anything runs."""


DATA = Profile(cpu="4", memory="8Gi")
CHECK = Profile(cpu="1", memory="4Gi", registry=True, cached=False, verifies=True, checks_keys=True)
"""Mounts the volume because files that steps read may be there; not cached because it looks whether they changed."""
SOURCE = dataclasses.replace(DATA, registry=True)
"""Reads files from outside, perhaps from the volume or an object store; an input holds their fingerprint."""
TRAIN = Profile(cpu=OWN.cpu, memory=OWN.memory, trains=True, registry=True, retried_for=FORTNIGHT)
TUNE = Profile(cpu=OWN.cpu, memory=OWN.memory, trains=True, registry=True, cached=False, retried_for=FORTNIGHT)
"""Never cached: the study on the volume grows under the same name."""
EVALUATE = Profile(cpu="4", memory="16Gi", registry=True, cached=False, verifies=True)
"""Never cached: the champion for comparison changes under the same name."""
COMPILE = Profile(cpu="4", memory="16Gi")
SERVE = Profile(cpu="2", memory="4Gi", cached=False, verifies=True)
REFRESH = Profile(cpu="2", memory="8Gi", cached=False, registry=True, verifies=True)
RELEASE = Profile(cpu="1", memory="2Gi", cached=False, registry=True)
REGISTER = dataclasses.replace(RELEASE, cpu="2", memory="4Gi", verifies=True, signs=True)
"""With judgments it opens the new bundle and the champion, as a predictor does."""
ROLLOUT = Profile(cpu="1", memory="2Gi", cached=False, registry=True, retries=5, retried_for=FORTNIGHT)
"""Runs for as long as the rollout takes; a retry resumes it after the loss of a pod."""


def apply(task: dsl.PipelineTask, profile: Profile, own: Mapping[str, Any] | None = None) -> dsl.PipelineTask:
    """Set a profile on a task and return the task.

    Args:
        task: A task of a pipeline.
        profile: Resources to set.
        own: Pipeline parameters `gpus`, `cpu` and `memory` of a training step, strings, instead of the profile's.
    """
    given = own or {}
    _compute(task, given.get("cpu", profile.cpu), given.get("memory", profile.memory))
    task.set_caching_options(profile.cached)
    retries = int(os.environ.get(RETRIES_VARIABLE, profile.retries))
    task.set_retry(
        num_retries=retries, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration=profile.retried_for
    )
    kubernetes.set_security_context(task, run_as_non_root=True, run_as_user=USER, run_as_group=USER)
    if images.PULL_SECRET:
        kubernetes.set_image_pull_secrets(task, [images.PULL_SECRET])
    if profile.trains:
        _training(task, given.get("gpus", OWN.gpus))
    # Otherwise a surrounding loop does not pass the parameters to its iterations (kfp 2.17).
    task.register_pipeline_channels([one for one in given.values() if isinstance(one, PipelineChannel)])
    if profile.registry:
        kubernetes.mount_pvc(task, pvc_name=REGISTRY_VOLUME, mount_path=REGISTRY_MOUNT)
    if profile.registry or profile.trains:
        kubernetes.use_secret_as_env(task, OBJECT_STORE_SECRET, {name: name for name in _OBJECT_STORE}, optional=True)
    _keys(task, profile)
    return task


def _keys(task: dsl.PipelineTask, profile: Profile) -> None:
    """What a step needs of the keys; optional, so that the first step says what is missing and no pod waits for it."""
    if profile.verifies:
        folder = str(PurePosixPath(PUBLIC_KEY).parent)
        kubernetes.use_config_map_as_volume(task, KEY_NAME, mount_path=folder, optional=True)
    if profile.signs:
        folder = str(PurePosixPath(SIGNING_KEY).parent)
        kubernetes.use_secret_as_volume(task, KEY_NAME, mount_path=folder, optional=True)
    if profile.checks_keys:
        kubernetes.use_secret_as_env(task, KEY_NAME, {f"{PRIVATE_FILE}.pub": PUBLIC_VARIABLE}, optional=True)


def _compute(task: dsl.PipelineTask, cpu: Any, memory: Any) -> None:
    """CPU and memory; a pipeline parameter is both request and limit, because KFP cannot compute with it."""
    request = cpu if isinstance(cpu, PipelineChannel) else f"{int(cpu) * 500}m"
    task.set_cpu_limit(cpu).set_cpu_request(request).set_memory_limit(memory).set_memory_request(memory)


def _training(task: dsl.PipelineTask, gpus: Any) -> None:
    """Accelerators, and what a training step passes on to the nodes of a TrainJob (dsl.TaskConfig)."""
    task.set_accelerator_type(GPU).set_accelerator_limit(gpus)
    kubernetes.add_toleration(task, key=GPU, operator="Exists", effect="NoSchedule")
    kubernetes.empty_dir_mount(task, volume_name="dshm", mount_path="/dev/shm", medium="Memory", size_limit="8Gi")
    # TrainJobs are named after the run, so that a retried step finds the job that it created.
    kubernetes.use_field_path_as_env(task, env_name="KFP_RUN_ID", field_path="metadata.labels['pipeline/runid']")
    # The nodes run the step's image, whatever the defaults in that image are.
    for name, value in images.environment().items():
        if value:
            task.set_env_variable(name, value)
