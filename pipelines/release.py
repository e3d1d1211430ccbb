"""The second half of training: trained models become a signed, proven version, released at once or under guard."""

# KFP turns annotated functions into task factories at import; a type checker still sees the functions.
# pyright: reportCallIssue=false, reportArgumentType=false

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model

from components.compile_model.component import compile_model
from components.deploy_model.component import deploy_model
from components.register_model.component import register_model
from components.rollout_model.component import rollout_model
from components.validate_serving.component import validate_serving
from pipelines import resources
from pipelines.resources import apply


@dsl.pipeline(name="release", description="From trained models to a version that serves.")
def release(
    features: Input[Dataset],
    retriever: Input[Model],
    ranker: Input[Model],
    statistics: Input[Artifact],
    evaluation: Input[Artifact],
    precision: str,
    dense_precision: str,
    prune: bool,
    runtime: str,
    limits: str,
    registry: str,
    model_name: str,
    signing_key: str,
    lineage: str,
    publish: str,
    max_p99_ms: float,
    max_memory_mb: float,
    strategy: str,
    backend: str,
    service: str,
    namespace: str,
    storage: str,
    mode: str,
    confidential: str,
    gateway: str,
    evidence: str,
    events: str,
    steps: str,
    guards: str,
):
    """Compile, register, prove; then deploy, or roll out when `strategy` is guarded.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        ranker: Output of train_ranker.
        statistics: Output of validate_data.
        evaluation: Output of evaluate_model.
        precision: See training, as all that follow.
        dense_precision: Of the dense layers.
        prune: Whether untrained rows are left out.
        runtime: What serves the model.
        limits: JSON of what compression may lose.
        registry: Folder of the model registry.
        model_name: Name in the registry.
        signing_key: Ed25519 private key.
        lineage: JSON of texts.
        publish: Where else a version is made known.
        max_p99_ms: Limit of the served 99th percentile.
        max_memory_mb: Limit of the predictor's memory.
        strategy: `direct` or `guarded`.
        backend: Of a direct release: local or kserve.
        service: InferenceService.
        namespace: Where it lives.
        storage: URI of the registry as KServe reads it.
        mode: Standard or Knative.
        confidential: Resource id of the key of encrypted bundles.
        gateway: Gateway whose HTTPRoute splits traffic.
        evidence: Prometheus, or folder of the inference log.
        events: Folder of the shop's events with request_id.
        steps: Percentages of live traffic.
        guards: JSON of limits.
    """
    models = {"features": features, "retriever": retriever, "ranker": ranker}
    form = {"precision": precision, "dense_precision": dense_precision, "prune": prune}
    form |= {"runtime": runtime, "limits": limits}
    compiled = apply(compile_model(**models, statistics=statistics, **form), resources.COMPILE).outputs["compiled"]
    registered = apply(
        register_model(
            compiled=compiled, evaluation=evaluation, registry=registry, model_name=model_name,
            signing_key=signing_key, lineage=lineage, publish=publish, storage=storage,
        ),
        resources.RELEASE,
    ).outputs  # fmt: skip
    proof = apply(
        validate_serving(bundle=registered["bundle"], max_p99_ms=max_p99_ms, max_memory_mb=max_memory_mb),
        resources.SERVE,
    ).outputs["proof"]
    papers = {"proof": proof, "evaluation": evaluation}
    what = {"registry": registry, "model_name": model_name, "version": registered["Output"]}
    where = {"service": service, "namespace": namespace, "storage": storage, "mode": mode}
    where["confidential"] = confidential
    with dsl.If(strategy == "guarded", name="guarded"):
        how = {"gateway": gateway, "evidence": evidence, "events": events, "steps": steps, "guards": guards}
        apply(rollout_model(**papers, **what, **where, **how), resources.ROLLOUT)
    with dsl.Else(name="direct"):
        apply(deploy_model(**papers, **what, **where, backend=backend), resources.RELEASE)
