"""The second part of the training pipeline: compiles, registers, verifies and releases the trained models."""

# KFP turns annotated functions into task factories at import; a type checker still sees the functions.
# pyright: reportCallIssue=false, reportArgumentType=false

from typing import Any

from kfp import dsl

from components.compile_model.component import compile_model
from components.deploy_model.component import deploy_model
from components.register_model.component import register_model
from components.rollout_model.component import rollout_model
from components.validate_serving.component import validate_serving
from pipelines import resources
from pipelines.resources import apply


def release(
    trained: dict[str, Any], statistics: Any, evaluation: Any, what: dict[str, Any], keys: dict[str, Any],
    strategy: Any, sections: dict[str, Any],
) -> None:  # fmt: skip
    """Add compilation, registration and verification to a pipeline; then deployment, or a rollout.

    Args:
        trained: Artifacts `features`, `retriever` and `ranker`.
        statistics: Output of validate_data.
        evaluation: Output of evaluate_model.
        what: Parameters `registry`, a folder or s3:// URI, and `model_name` in it.
        keys: Parameters `signing_key`, PEM file of the Ed25519 private key, and `public_key`, which predictors trust.
        strategy: `direct` or `guarded`.
        sections: Sections `compile`, `release` and `rollout`.
    """
    release = sections["release"]
    task = compile_model(**trained, statistics=statistics, options=sections["compile"])
    compiled = apply(task, resources.COMPILE).outputs["compiled"]
    task = register_model(compiled=compiled, evaluation=evaluation, **what, **keys, release=release)
    registered = apply(task, resources.REGISTER).outputs
    task = validate_serving(bundle=registered["bundle"], public_key=keys["public_key"], release=release)
    gates = {"proof": apply(task, resources.SERVE).outputs["proof"], "evaluation": evaluation}
    version = {**what, "version": registered["Output"], "release": release}
    # Not dsl.Else, which adds a graph around both.
    with dsl.If(strategy == "guarded", name="guarded"):
        apply(rollout_model(**gates, **version, rollout=sections["rollout"]), resources.ROLLOUT)
    with dsl.If(strategy != "guarded", name="direct"):
        apply(deploy_model(**gates, **version), resources.RELEASE)
