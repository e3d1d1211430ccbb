"""The training pipeline: from raw events to a signed, verified and released model."""

# KFP turns annotated functions into task factories at import; a type checker still sees the functions.
# pyright: reportCallIssue=false, reportArgumentType=false

from typing import Any

from kfp import dsl

from components.check_parameters.component import check_parameters
from components.evaluate_model.component import evaluate_model
from components.train_ranker.component import train_ranker
from components.train_retriever.component import train_retriever
from pipelines import resources
from pipelines.preparation import prepare
from pipelines.release import release as add_release
from pipelines.resources import OWN, PUBLIC_KEY, REGISTRY_MOUNT, SIGNING_KEY, apply


def _trained(
    features: Any, files: Any, own: dict[str, Any], shared: dict[str, Any], retriever: Any, ranker: Any
) -> dict[str, Any]:
    """The retriever, then the ranker on its candidates: returns the inputs of the later steps."""
    first = train_retriever(features=features, **shared, retriever=retriever, fingerprint=files["train_retriever"])
    models = {"features": features, "retriever": apply(first, resources.TRAIN, own).outputs["model"]}
    second = train_ranker(**models, **shared, ranker=ranker, fingerprint=files["train_ranker"])
    return {**models, "ranker": apply(second, resources.TRAIN, own).outputs["model"]}


@dsl.pipeline(
    name="shoprank-training",
    description="From raw events to a signed, verified and released search and recommendation model.",
    display_name="shoprank: training",
)
def training(
    source: str = "complete-journey",
    size: str = "small",
    seed: int = 0,
    gpus: str = OWN.gpus,
    cpu: str = OWN.cpu,
    memory: str = OWN.memory,
    model_name: str = "shop",
    registry: str = f"{REGISTRY_MOUNT}/registry",
    signing_key: str = SIGNING_KEY,
    public_key: str = PUBLIC_KEY,
    strategy: str = "direct",
    data: dict = {},  # noqa: B006 - KFP takes the default as a constant
    features: dict = {},  # noqa: B006
    retriever: dict = {},  # noqa: B006
    ranker: dict = {},  # noqa: B006
    training: dict = {},  # noqa: B006
    evaluation: dict = {},  # noqa: B006
    compile: dict = {},  # noqa: B006
    release: dict = {},  # noqa: B006
    rollout: dict = {},  # noqa: B006
):
    """Train, evaluate and, if the model passes the release gates, release it.

    Every section is described by `shoprank config` and its JSON Schema; {} means the defaults of the size.

    Args:
        source: `complete-journey`, or a file, folder, URI or glob of events in Parquet, CSV or JSON.
        size: tiny, small or full.
        seed: Seed of all random numbers.
        gpus: GPUs of a training step's pod; "0" with training.launch=trainjob and training.node_gpus.
        cpu: CPUs of a training step's pod; "1" with training.launch=trainjob and training.node_cpu.
        memory: Memory of a training step's pod; "4Gi" with training.launch=trainjob and training.node_memory.
        model_name: Name in the registry.
        registry: Folder or s3:// URI of the model registry.
        signing_key: PEM file of the Ed25519 private key (`shoprank keys create`).
        public_key: PEM file of its public half, which predictors trust.
        strategy: direct (deploy at once) or guarded (step by step against the champion).
        data: Tables and column names.
        features: Cleaning, vocabularies, interests, sequences.
        retriever: The two-tower retriever.
        ranker: The multi-task ranker.
        training: Training of both models: processes, nodes, checkpoints.
        evaluation: Release gates.
        compile: Compression and compilation.
        release: Registration and deployment.
        rollout: Guarded rollout.
    """
    models = {"retriever": retriever, "ranker": ranker, "training": training, "evaluation": evaluation}
    releasing = {"compile": compile, "release": release, "rollout": rollout}
    own = {"gpus": gpus, "cpu": cpu, "memory": memory}
    flat = {"size": size, "seed": seed, "strategy": strategy, **own}
    keys = {"signing_key": signing_key, "public_key": public_key}
    task = check_parameters(**flat, **keys, source=source, data=data, features=features, **models, **releasing)
    checked = apply(task, resources.CHECK)
    built, statistics = prepare(source, size, data, features, checked)
    shared = {"size": size, "seed": seed, "training": training}
    trained = _trained(built, checked.outputs, own, shared, retriever, ranker)
    registered = {"registry": registry, "model_name": model_name}
    # A champion is only opened if it is signed with this key.
    known = {**registered, "public_key": public_key}
    task = evaluate_model(**trained, **known, size=size, options=evaluation)
    judged = apply(task, resources.EVALUATE).outputs
    with dsl.If(judged["Output"] == True, name="blessed"):  # noqa: E712 - KFP overloads the comparison
        add_release(trained, statistics, judged["evaluation"], registered, keys, strategy, releasing)
