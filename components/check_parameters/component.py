"""KFP component of the parameter check."""

from typing import NamedTuple

from components.image_component import image_component
from components.shared.images import TRAIN_IMAGE


class Files(NamedTuple):
    """Fingerprints of the files that steps read from outside the pipeline; '' for none."""

    ingest_events: str
    validate_data: str
    train_retriever: str
    train_ranker: str


@image_component(TRAIN_IMAGE)
def check_parameters(
    size: str = "small",
    seed: int = 0,
    strategy: str = "direct",
    gpus: str = "1",
    cpu: str = "8",
    memory: str = "32Gi",
    signing_key: str = "",
    public_key: str = "",
    source: str = "",
    data: dict = {},  # noqa: B006 - KFP takes the default as a constant
    features: dict = {},  # noqa: B006
    retriever: dict = {},  # noqa: B006
    ranker: dict = {},  # noqa: B006
    training: dict = {},  # noqa: B006
    evaluation: dict = {},  # noqa: B006
    compile: dict = {},  # noqa: B006
    release: dict = {},  # noqa: B006
    rollout: dict = {},  # noqa: B006
    tuning: dict = {},  # noqa: B006
) -> Files:
    """Validate the options of all steps before anything is read; reports the first error of each section.

    A pipeline passes the sections that it has.

    Args:
        size: tiny, small or full.
        seed: Seed of all random numbers.
        strategy: direct or guarded.
        gpus: GPUs of a training step's pod.
        cpu: CPUs of a training step's pod.
        memory: Memory of a training step's pod.
        signing_key: PEM file of the private key, which the step that registers has; empty: no key is needed.
        public_key: PEM file of the public key that predictors trust; empty: not compared.
        source: Source of ingest_events; empty: the pipeline reads no events.
        data: Section `data` of ShopConfig (pipelines/config.py).
        features: Section.
        retriever: Section.
        ranker: Section.
        training: Section.
        evaluation: Section.
        compile: Section.
        release: Section.
        rollout: Section.
        tuning: Section.

    Returns:
        ingest_events: Fingerprint of the source, the catalog and the users: names, sizes and versions of their files.
        validate_data: Of the earlier run's statistics.
        train_retriever: Of the result of tuning.
        train_ranker: Of the result of tuning and the inference log.
    """
    from components.check_parameters import check as stage
    from components.check_parameters.files import fingerprints

    models = {"retriever": retriever, "ranker": ranker, "training": training, "evaluation": evaluation}
    sections = {"data": data, "features": features, **models, "compile": compile, "release": release}
    flat = {"size": size, "seed": seed, "strategy": strategy, "gpus": gpus, "cpu": cpu, "memory": memory,
            "signing_key": signing_key, "public_key": public_key}  # fmt: skip
    stage.check_parameters(flat, {**sections, "rollout": rollout, "tuning": tuning})
    return Files(**fingerprints(source, sections))
