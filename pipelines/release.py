"""The last part of training: a registered, proven version is released at once, or rolled out under guard."""

# KFP turns annotated functions into task factories at import; a type checker still sees the functions.
# pyright: reportCallIssue=false, reportArgumentType=false

from kfp import dsl
from kfp.dsl import Artifact, Input

from components.deploy_model.component import deploy_model
from components.rollout_model.component import rollout_model
from pipelines import resources
from pipelines.resources import apply


@dsl.pipeline(name="release", description="At once, or step by step under sequential tests.")
def release(
    proof: Input[Artifact],
    evaluation: Input[Artifact],
    registry: str,
    model_name: str,
    version: str,
    strategy: str,
    backend: str,
    service: str,
    namespace: str,
    storage: str,
    mode: str,
    gateway: str,
    evidence: str,
    steps: str,
    guards: str,
):
    """Choose by strategy.

    Args:
        proof: Output of validate_serving.
        evaluation: Output of evaluate_model.
        registry: Folder of the model registry.
        model_name: Name in the registry.
        version: Output of register_model.
        strategy: `direct` or `guarded`.
        backend: Of a direct release: local or kserve.
        service: InferenceService.
        namespace: Where it lives.
        storage: URI of the registry as KServe reads it.
        mode: Standard or Knative.
        gateway: Gateway whose HTTPRoute splits traffic.
        evidence: Prometheus, or folder of the inference log.
        steps: Percentages of live traffic.
        guards: JSON of limits.
    """
    papers = {"proof": proof, "evaluation": evaluation}
    what = {"registry": registry, "model_name": model_name, "version": version}
    where = {"service": service, "namespace": namespace, "storage": storage, "mode": mode}
    with dsl.If(strategy == "guarded", name="guarded"):
        how = {"gateway": gateway, "evidence": evidence, "steps": steps, "guards": guards}
        apply(rollout_model(**papers, **what, **where, **how), resources.ROLLOUT)
    with dsl.Else(name="direct"):
        apply(deploy_model(**papers, **what, **where, backend=backend), resources.RELEASE)
