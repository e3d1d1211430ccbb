"""The catalog pipeline: adds today's items to the served model within minutes, without training."""

# KFP turns annotated functions into task factories at import; a type checker still sees the functions.
# pyright: reportCallIssue=false, reportArgumentType=false

from kfp import dsl

from components.check_parameters.component import check_parameters
from components.deploy_model.component import deploy_model
from components.refresh_catalog.component import refresh_catalog
from components.register_model.component import register_model
from components.validate_serving.component import validate_serving
from pipelines import resources
from pipelines.resources import PUBLIC_KEY, REGISTRY_MOUNT, SIGNING_KEY, apply


@dsl.pipeline(
    name="shoprank-catalog",
    description="Add new and changed items to the served model, without training.",
    display_name="shoprank: catalog",
)
def catalog(
    items_source: str,
    registry: str = f"{REGISTRY_MOUNT}/registry",
    model_name: str = "shop",
    signing_key: str = SIGNING_KEY,
    public_key: str = PUBLIC_KEY,
    data: dict = {},  # noqa: B006 - KFP takes the default as a constant
    release: dict = {},  # noqa: B006
):
    """Refresh the champion, register the result as a new version, verify it and deploy it.

    Args:
        items_source: File, folder, URI or glob of Parquet, CSV or JSON.
        registry: Folder or s3:// URI of the model registry.
        model_name: Name in the registry.
        signing_key: PEM file of the Ed25519 private key.
        public_key: PEM file of its public half, which predictors trust.
        data: Column names of the items, as for the training.
        release: Registration, limits of the served model, deployment (see `shoprank config`).
    """
    what = {"registry": registry, "model_name": model_name}
    keys = {"signing_key": signing_key, "public_key": public_key}
    checked = apply(check_parameters(**keys, data=data, release=release), resources.CHECK)
    task = refresh_catalog(items_source=items_source, **what, public_key=public_key, data=data)
    refreshed = apply(task, resources.REFRESH).after(checked).outputs
    task = register_model(
        compiled=refreshed["compiled"], evaluation=refreshed["evaluation"], **what, **keys,
        release=release,
    )  # fmt: skip
    registered = apply(task, resources.REGISTER).outputs
    task = validate_serving(bundle=registered["bundle"], public_key=public_key, release=release)
    proof = apply(task, resources.SERVE).outputs["proof"]
    task = deploy_model(
        proof=proof, evaluation=refreshed["evaluation"], **what, version=registered["Output"], release=release
    )  # fmt: skip
    apply(task, resources.RELEASE)
