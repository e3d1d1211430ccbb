"""The training pipeline: raw events to a signed, proven, released model, in a cluster and on a laptop alike."""

# KFP turns annotated functions into task factories at import; a type checker still sees the functions.
# pyright: reportCallIssue=false, reportArgumentType=false, reportFunctionMemberAccess=false

import inspect
from collections.abc import Callable
from typing import Any

from kfp import dsl

from components.check_parameters.component import check_parameters
from components.evaluate_model.blessing import read_blessing
from components.evaluate_model.component import evaluate_model
from components.train_ranker.component import train_ranker
from components.train_retriever.component import train_retriever
from pipelines import resources
from pipelines.preparation import prepare
from pipelines.release import release
from pipelines.resources import REGISTRY_MOUNT, REGISTRY_VOLUME, apply


def _trained(
    features: Any, gpus: Any, train: dict[str, Any], retriever: dict[str, Any], ranker: dict[str, Any]
) -> dict[str, Any]:
    """The retriever, then the ranker on its candidates, with what both trainings share; what every later step reads."""
    first = train_retriever(features=features, **train, **retriever)
    models = {"features": features, "retriever": apply(first, resources.TRAIN, gpus).outputs["model"]}
    second = train_ranker(**models, **train, **ranker)
    return {**models, "ranker": apply(second, resources.TRAIN, gpus).outputs["model"]}


def _handed(given: dict[str, Any], step: Callable[..., Any]) -> dict[str, Any]:
    """The pipeline's parameters that a step takes under the same name."""
    return {name: given[name] for name in inspect.signature(step).parameters if name in given}


def _judged(known: dict[str, Any], signing_key: Any, size: Any) -> Any:
    """What evaluation found; a champion is opened only if it bears this key's signature."""
    task = evaluate_model(**known, public_key=f"{signing_key}.pub", size=size)
    return apply(task, resources.EVALUATE).outputs["evaluation"]


def _blessed(evaluation: Any) -> Any:
    """Whether the rules passed: what the condition reads."""
    return apply(read_blessing(evaluation=evaluation), resources.GATE).output


@dsl.pipeline(
    name="shoprank-training",
    description="From raw shopper events to a guarded search and recommendation endpoint.",
    display_name="shoprank: training",
)
def training(
    source: str = "complete-journey",
    size: str = "small",
    mapping: str = "",
    items_source: str = "",
    users_source: str = "",
    previous_statistics: str = "",
    item_hash_rows: int = 0,
    item_rows: int = 0,
    user_rows: int = 0,
    seed: int = 0,
    processes: int = 1,
    precision: str = "int8",
    dense_precision: str = "fp32",
    prune: bool = False,
    runtime: str = "onnxruntime",
    limits: str = "",
    registry: str = f"{REGISTRY_MOUNT}/registry",
    model_name: str = "shop",
    signing_key: str = f"{REGISTRY_MOUNT}/keys/signing.pem",
    checkpoints: str = "",
    launch: str = "process",
    nodes: int = 1,
    exchange: str = "",
    gpus: int = 1,
    node_gpus: int = 0,
    retriever_hyperparameters: str = "",
    ranker_hyperparameters: str = "",
    encoder: str = "",
    loss: str = "",
    retriever_optimizer: str = "",
    architecture: str = "",
    ranker_optimizer: str = "",
    hot_candidates: int = 0,
    inference_log: str = "",
    refit: bool = True,
    teacher: str = "",
    lineage: str = "",
    max_p99_ms: float = 500.0,
    max_memory_mb: float = 2000.0,
    publish: str = "",
    strategy: str = "direct",
    backend: str = "local",
    service: str = "shoprank",
    namespace: str = "",
    storage: str = f"pvc://{REGISTRY_VOLUME}/registry",
    mode: str = "Standard",
    confidential: str = "",
    gateway: str = "",
    evidence: str = "",
    events: str = "",
    steps: str = "5,25,50,100",
    guards: str = "",
):
    """Compose the stages; everything after the blessing runs only for a blessed model.

    Args:
        source: `complete-journey`, or a file, folder or URI of events in Parquet, CSV or JSON Lines.
        size: tiny, small or full.
        mapping: JSON of {our column: their column}; empty: the columns have our names.
        items_source: Catalog; empty: the items that the events name.
        users_source: Users; empty: the users that the events name.
        previous_statistics: Statistics of an earlier run to compare sizes with; empty: none.
        item_hash_rows: Rows that items beyond the vocabulary share by the hash of their id; 0: they are unknown.
        item_rows: At most this many items have an embedding row of their own, those seen most and latest; 0: all.
        user_rows: The same of shoppers.
        seed: Of everything random.
        processes: Training processes of a node.
        precision: Embedding rows as fp32, fp16, int8 or int4.
        dense_precision: Dense layers as fp32 or int8.
        prune: Whether embedding rows that training never touched are left out.
        runtime: What serves the model: onnxruntime, or aotinductor (native code for x86-64 processors with AVX2).
        limits: JSON of what compression may lose that differs from the defaults, such as {"max_ndcg_loss": 0.01}.
        registry: Folder of the model registry.
        model_name: Name in the registry.
        signing_key: Ed25519 private key; made when absent.
        checkpoints: Folder for lasting checkpoints; empty: none outlast a step.
        launch: Where training runs: process (in the step's pod) or trainjob (Kubeflow Trainer, several nodes).
        nodes: Nodes of a TrainJob.
        exchange: Folder that training steps and nodes share: below /mnt/shoprank, or s3://bucket/prefix.
        gpus: GPUs of a training step's own pod; 0 with trainjob, where it only prepares and waits.
        node_gpus: GPUs of a TrainJob's node; 0: as many as the step's pod has.
        retriever_hyperparameters: What tuning found: its JSON, or where it lies on the volume; empty: the size dial's.
        ranker_hyperparameters: The same of the ranker.
        encoder: JSON of the retriever's sequence encoder, such as {"kind": "GruConfig", "hidden_dim": 64}; null: none;
            empty: what tuning found, or none.
        loss: JSON of the retriever's loss, such as {"kind": "Bpr", "source": {"kind": "Hard", "count": 4}}, or
            {"kind": "Mse"} for events with ratings; empty: softmax over the batch's targets with log-Q.
        retriever_optimizer: JSON of some of rule, embedding_lr, dense_lr, precision, sharding, schedule, compile,
            overlap; wins over tuning.
        architecture: JSON of the ranker's interaction, heads, attention (null: none) and places (these need
            inference_log); the rest is as tuning found it, or the default.
        ranker_optimizer: As retriever_optimizer, of the ranker.
        hot_candidates: Items of the highest time-decayed popularity among every shopper's candidates; 0: none.
        inference_log: Folder of the predictors' logs, which say where shown items stood, for an architecture with
            places; empty: unknown.
        refit: Whether the final ranker learns the validation window too, for as many epochs as were best on it.
        teacher: JSON of a larger ranker that teaches the final one, such as {"hidden_dim": 512, "share": 0.5}; {}: of
            the default widths; empty: none.
        lineage: JSON of texts to keep with the model, such as the commit.
        max_p99_ms: Limit of the served 99th percentile.
        max_memory_mb: Limit of the predictor's memory.
        publish: Where else a version is made known: oci:FOLDER, model-registry:URL, or empty.
        strategy: direct (deploy at once) or guarded (roll out step by step against the champion).
        backend: Of a direct release: local (the registry's champion) or kserve.
        service: Name of the InferenceService.
        namespace: Where it lives; empty: where the step runs.
        storage: URI of the registry's folder as KServe reads it: pvc://, s3:// or minio://.
        mode: KServe's deployment mode: Standard or Knative.
        confidential: Resource id (kbs:///...) of the key of the bundles in `storage`; empty: they are not encrypted.
        gateway: Gateway whose HTTPRoute splits traffic in Standard mode; empty: KServe splits it.
        evidence: Of a rollout: address of Prometheus, or folder of the inference log.
        events: Folder of the shop's events with request_id, for guards on clicks and purchases; empty: none.
        steps: Percentages of live traffic in a rollout.
        guards: JSON of a rollout's limits that differ from the defaults.
    """
    given = dict(locals())  # first of all, so that it holds the parameters and nothing else
    checked = apply(check_parameters(**_handed(given, check_parameters.python_func)), resources.CHECK)
    rows = {"item_hash_rows": item_hash_rows, "item_rows": item_rows, "user_rows": user_rows}
    features, statistics = prepare(
        source, size, mapping, items_source, users_source, previous_statistics, rows, checked
    )  # fmt: skip
    train = {"size": size, "seed": seed, "processes": processes, "checkpoints": checkpoints}
    train |= {"launch": launch, "nodes": nodes, "exchange": exchange, "node_gpus": node_gpus}
    retriever = {"hyperparameters": retriever_hyperparameters, "encoder": encoder, "loss": loss}
    retriever["optimizer"] = retriever_optimizer
    ranker = {"hyperparameters": ranker_hyperparameters, "architecture": architecture, "hot_candidates": hot_candidates}
    ranker |= {"optimizer": ranker_optimizer, "inference_log": inference_log, "refit": refit, "teacher": teacher}
    models = _trained(features, gpus, train, retriever, ranker)
    evaluation = _judged({**models, "registry": registry, "model_name": model_name}, signing_key, size)
    with dsl.If(_blessed(evaluation) == True, name="blessed"):  # noqa: E712 - KFP overloads the comparison
        release(**models, statistics=statistics, evaluation=evaluation, **_handed(given, release.pipeline_func))
