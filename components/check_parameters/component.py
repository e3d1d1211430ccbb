"""KFP component of the parameter check."""

from kfp import dsl

from components.shared.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def check_parameters(
    size: str,
    seed: int,
    strategy: str,
    data: dict,
    features: dict,
    retriever: dict,
    ranker: dict,
    training: dict,
    evaluation: dict,
    compile: dict,
    release: dict,
    rollout: dict,
):
    """Validate the options of all steps before anything is read; reports the first error of each section.

    Args:
        size: tiny, small or full.
        seed: Seed of all random numbers.
        strategy: direct or guarded.
        data: Section `data` of ShopConfig (pipelines/config.py).
        features: Section.
        retriever: Section.
        ranker: Section.
        training: Section.
        evaluation: Section.
        compile: Section.
        release: Section.
        rollout: Section.
    """
    from components.check_parameters import check as stage

    models = {"retriever": retriever, "ranker": ranker, "training": training, "evaluation": evaluation}
    sections = {"data": data, "features": features, **models, "compile": compile, "release": release}
    flat = {"size": size, "seed": seed, "strategy": strategy}
    stage.check_parameters(flat, {**sections, "rollout": rollout})
