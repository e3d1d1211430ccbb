"""The training pipeline: raw events to a signed, proven, released model, in a cluster and on a laptop alike."""

# KFP turns annotated functions into task factories at import; a type checker still sees the functions.
# pyright: reportCallIssue=false, reportArgumentType=false

from kfp import dsl

from components.build_features.component import build_features
from components.compile_model.component import compile_model
from components.deploy_model.component import deploy_model
from components.evaluate_model.blessing import read_blessing
from components.evaluate_model.component import evaluate_model
from components.ingest_events.component import ingest_events
from components.register_model.component import register_model
from components.train_ranker.component import train_ranker
from components.train_retriever.component import train_retriever
from components.validate_data.component import validate_data
from components.validate_serving.component import validate_serving
from pipelines import resources
from pipelines.resources import REGISTRY_MOUNT, apply


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
    seed: int = 0,
    processes: int = 1,
    precision: str = "int8",
    registry: str = f"{REGISTRY_MOUNT}/registry",
    model_name: str = "shop",
    signing_key: str = f"{REGISTRY_MOUNT}/keys/signing.pem",
    checkpoints: str = "",
    lineage: str = "",
    max_p99_ms: float = 500.0,
    max_memory_mb: float = 2000.0,
):
    """Compose the stages; everything after the blessing runs only for a blessed model.

    Args:
        source: `complete-journey`, or a file, folder or URI of events in Parquet, CSV or JSON Lines.
        size: tiny, small or full.
        mapping: JSON of {our column: their column}; empty: the columns have our names.
        items_source: Catalogue; empty: the items that the events name.
        users_source: Users; empty: the users that the events name.
        previous_statistics: Statistics of an earlier run to compare sizes with; empty: none.
        seed: Of everything random.
        processes: Training processes in a pod.
        precision: Embedding rows as fp32, fp16 or int8.
        registry: Folder of the model registry.
        model_name: Name in the registry.
        signing_key: Ed25519 private key; made when absent.
        checkpoints: Folder for lasting checkpoints; empty: none outlast a step.
        lineage: JSON of texts to keep with the model, such as the commit.
        max_p99_ms: Limit of the served 99th percentile.
        max_memory_mb: Limit of the predictor's memory.
    """
    raw = apply(
        ingest_events(source=source, size=size, mapping=mapping, items_source=items_source, users_source=users_source),
        resources.SOURCE,
    ).outputs
    valid = apply(
        validate_data(
            events=raw["events"], items=raw["items"], users=raw["users"], rejected=raw["rejected"],
            previous_statistics=previous_statistics,
        ),
        resources.DATA,
    ).outputs  # fmt: skip
    features = apply(
        build_features(events=raw["events"], items=raw["items"], statistics=valid["statistics"], size=size),
        resources.DATA,
    ).outputs["features"]
    train = {"size": size, "seed": seed, "processes": processes, "checkpoints": checkpoints}
    retriever = apply(train_retriever(features=features, **train), resources.TRAIN).outputs["model"]
    ranker = apply(train_ranker(features=features, retriever=retriever, **train), resources.TRAIN).outputs["model"]
    models = {"features": features, "retriever": retriever, "ranker": ranker}
    evaluation = apply(
        evaluate_model(**models, registry=registry, model_name=model_name, size=size), resources.EVALUATE
    ).outputs["evaluation"]
    blessing = apply(read_blessing(evaluation=evaluation), resources.GATE)
    with dsl.If(blessing.output == True, name="blessed"):  # noqa: E712 - KFP overloads the comparison
        compiled = apply(
            compile_model(**models, statistics=valid["statistics"], precision=precision), resources.COMPILE
        ).outputs["compiled"]
        registered = apply(
            register_model(
                compiled=compiled, evaluation=evaluation, registry=registry, model_name=model_name,
                signing_key=signing_key, lineage=lineage,
            ),
            resources.RELEASE,
        )  # fmt: skip
        proof = apply(
            validate_serving(bundle=registered.outputs["bundle"], max_p99_ms=max_p99_ms, max_memory_mb=max_memory_mb),
            resources.SERVE,
        ).outputs["proof"]
        apply(
            deploy_model(
                proof=proof, evaluation=evaluation, registry=registry, model_name=model_name,
                version=registered.outputs["Output"],
            ),
            resources.RELEASE,
        )  # fmt: skip
