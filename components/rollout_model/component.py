"""KFP face of the rollout stage."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Input, Metrics, Output

from components.shared.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def rollout_model(
    proof: Input[Artifact],
    evaluation: Input[Artifact],
    registry: str,
    model_name: str,
    version: str,
    evidence: str,
    record: Output[Artifact],
    page: Output[HTML],
    result: Output[Metrics],
    events: str = "",
    steps: str = "5,25,50,100",
    guards: str = "",
    poll_s: float = 15.0,
    service: str = "shoprank",
    namespace: str = "",
    storage: str = "pvc://shoprank-registry/registry",
    mode: str = "Standard",
    confidential: str = "",
    gateway: str = "",
    ready_s: float = 600.0,
) -> str:
    """Bring a version to live traffic step by step under sequential tests, then promote it or roll it back.

    Args:
        proof: Output of validate_serving for this version.
        evaluation: Output of evaluate_model with its decision.
        registry: Folder of the registry.
        model_name: Name in the registry.
        version: Output of register_model.
        evidence: Address of a Prometheus server that scrapes the predictors, or the folder of their inference log.
        events: Folder of the shop's events with request_id, for guards on clicks and purchases; needs a log.
        steps: Percentages of live traffic, rising, ending with 100.
        guards: JSON of limits that differ from the defaults (components/rollout_model/guards.py).
        poll_s: Seconds between two looks.
        service: Name of the InferenceService.
        namespace: Where it lives; empty: where the step runs.
        storage: URI of the registry's folder as KServe reads it: pvc://, s3:// or KFP's minio://.
        mode: KServe's deployment mode: Standard or Knative.
        confidential: Resource id (kbs:///...) of the key of the bundles in `storage`; empty: they are not encrypted.
        gateway: Gateway of the HTTPRoute that splits traffic in Standard mode; empty: KServe splits it.
        ready_s: Seconds that a predictor may take to become ready.

    Returns:
        record: What was seen at each step and what decided.
        page: The same as a page with plots.
        result: Whether it was promoted, and how long that took.
        Output: promoted or rolled_back.
    """
    from pathlib import Path

    from components.rollout_model import run as stage

    plan = stage.parse_plan(steps, guards, poll_s, service)
    place = stage.placement(model_name, service, storage, mode, gateway, ready_s, confidential)
    config = stage.RolloutConfig(
        registry=Path(registry), name=model_name, version=version, placement=place, evidence=evidence, events=events,
        plan=plan, namespace=namespace,
    )  # fmt: skip
    done = stage.roll_out(config, (Path(proof.path), Path(evaluation.path)), Path(record.path), Path(page.path))
    result.log_metric("promoted", float(done.promoted))
    result.log_metric("seconds_to_move_traffic", done.moved - done.decided)
    return done.action
