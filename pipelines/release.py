"""The second part of the training pipeline: compiles, registers, verifies and releases the trained models."""

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


@dsl.pipeline(name="release", description="Compile, register, verify and release trained models.")
def release(
    features: Input[Dataset],
    retriever: Input[Model],
    ranker: Input[Model],
    statistics: Input[Artifact],
    evaluation: Input[Artifact],
    registry: str,
    model_name: str,
    signing_key: str,
    public_key: str,
    strategy: str,
    compile: dict,
    release: dict,
    rollout: dict,
):
    """Compile, register and verify; then deploy, or roll out if `strategy` is guarded.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        ranker: Output of train_ranker.
        statistics: Output of validate_data.
        evaluation: Output of evaluate_model.
        registry: Folder or s3:// URI of the model registry.
        model_name: Name in the registry.
        signing_key: PEM file of the Ed25519 private key.
        public_key: PEM file of its public half, which predictors trust.
        strategy: `direct` or `guarded`.
        compile: Compression and compilation.
        release: Registration, limits of the served model, deployment.
        rollout: Guarded rollout.
    """
    models = {"features": features, "retriever": retriever, "ranker": ranker}
    task = compile_model(**models, statistics=statistics, options=compile)
    compiled = apply(task, resources.COMPILE).outputs["compiled"]
    what = {"registry": registry, "model_name": model_name}
    keys = {"signing_key": signing_key, "public_key": public_key}
    task = register_model(compiled=compiled, evaluation=evaluation, **what, **keys, release=release)
    registered = apply(task, resources.REGISTER).outputs
    task = validate_serving(bundle=registered["bundle"], public_key=public_key, release=release)
    gates = {"proof": apply(task, resources.SERVE).outputs["proof"], "evaluation": evaluation}
    version = {**what, "version": registered["Output"], "release": release}
    with dsl.If(strategy == "guarded", name="guarded"):
        apply(rollout_model(**gates, **version, rollout=rollout), resources.ROLLOUT)
    with dsl.Else(name="direct"):
        apply(deploy_model(**gates, **version), resources.RELEASE)
