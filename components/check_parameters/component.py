"""KFP face of the parameter check."""

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
    """Refuse, before anything is read, options that a later step could not use: the first fault of each part, at once.

    Args:
        size: tiny, small or full.
        seed: Of everything random.
        strategy: direct or guarded.
        data: Section of ShopConfig (pipelines/config.py), as all that follow.
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
