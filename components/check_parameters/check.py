"""Validation of all options of a run before anything is read, with the checks of the stages that use them.

Otherwise an invalid rollout option would only be found after hours of training.
"""

from collections.abc import Callable, Mapping
from typing import Any

from components.shared.errors import InputError

Sections = Mapping[str, Mapping[str, Any]]
"""Section of ShopConfig -> its values."""


def check_parameters(flat: Mapping[str, Any], sections: Sections) -> None:
    """Validate the options of all steps.

    Args:
        flat: size, seed, strategy, gpus, cpu, memory and, if it registers, registry, signing_key and public_key of the
            pipeline.
        sections: Every section; {} for sections that the pipeline does not have.

    Raises:
        InputError: lists the first error of each section.
    """
    checks: tuple[Callable[[Mapping[str, Any], Sections], None], ...] = (
        _sizes, _resources, _data, _features, _retriever, _ranker, _evaluation, _compile, _release, _tuning, _keys,
    )  # fmt: skip
    wrong: dict[str, str] = {}
    for check in checks:
        try:
            check(flat, sections)
        except InputError as error:
            # Several checks validate the size and the launch options; equal errors are reported once.
            wrong[error.headline] = error.fix
    if wrong:
        raise InputError("; ".join(wrong), "; ".join(wrong.values()))


def _sizes(flat: Mapping[str, Any], sections: Sections) -> None:
    from components.shared.options import check_size

    for name, section in sections.items():
        check_size(section, name)


def _resources(flat: Mapping[str, Any], sections: Sections) -> None:
    from components.shared.quantities import StepResources

    StepResources.read({name: flat[name] for name in StepResources.model_fields if name in flat}, "")


def _data(flat: Mapping[str, Any], sections: Sections) -> None:
    from components.shared.schema.data_options import DataOptions

    DataOptions.read(sections["data"], "data")


def _features(flat: Mapping[str, Any], sections: Sections) -> None:
    from components.build_features.config import FeatureOptions
    from components.shared.schema.sizes import size_named

    FeatureOptions.for_size(size_named(flat["size"]), sections["features"])


def _retriever(flat: Mapping[str, Any], sections: Sections) -> None:
    from components.train_retriever.stage import training_for

    training_for(flat["size"], flat["seed"], sections["retriever"], sections["training"])


def _ranker(flat: Mapping[str, Any], sections: Sections) -> None:
    from components.train_ranker.stage import training_for

    training_for(flat["size"], flat["seed"], sections["ranker"], sections["training"])


def _evaluation(flat: Mapping[str, Any], sections: Sections) -> None:
    from components.evaluate_model.config import EvaluationOptions
    from components.shared.schema.sizes import size_named

    EvaluationOptions.for_size(size_named(flat["size"]), sections["evaluation"])


def _compile(flat: Mapping[str, Any], sections: Sections) -> None:
    from components.compile_model.config import CompileOptions

    search = CompileOptions.read(sections["compile"], "compile").search
    for name, source in {"encoder": search.encoder, "relevance": search.relevance}.items():
        if source:
            _exists(f"compile.search.{name}", source, "give what encode_text or train_relevance wrote")


def _exists(option: str, source: str, fix: str) -> None:
    from components.shared.fingerprint import files_below

    if not files_below(source, option)[1]:
        raise InputError(f"{option}: '{source}' does not exist", fix)


def _release(flat: Mapping[str, Any], sections: Sections) -> None:
    from components.rollout_model.config import RolloutOptions
    from components.shared.release.config import ReleaseOptions

    release = ReleaseOptions.read(sections["release"], "release")
    RolloutOptions.read(sections["rollout"], "rollout").check(flat["strategy"], release.mode)
    if release.search.judgments:
        _judgments("release.search.judgments", release.search.judgments, release.search.relevant_grade)


def _judgments(option: str, source: str, relevant: float) -> None:
    """Judgments can be read and have a relevant item: they are only used after all training."""
    from components.evaluate_search.config import SearchEvaluationOptions
    from components.evaluate_search.judgments import read_judgments

    fix = "give columns query, item_id and grade (or clicks)"
    _exists(option, source, fix)
    try:
        judgments = read_judgments(source, SearchEvaluationOptions(relevant_grade=relevant))
    except InputError as error:
        raise InputError(f"{option}: {error.headline}", error.fix) from error
    if not any(grade >= relevant for items in judgments.grades.values() for grade in items.values()):
        raise InputError(f"{option}: '{source}' has no item of grade {relevant:g} or more", fix)


def _tuning(flat: Mapping[str, Any], sections: Sections) -> None:
    from components.tune_hyperparameters.config import TuningOptions

    TuningOptions.read(sections["tuning"], "tuning")


def _keys(flat: Mapping[str, Any], sections: Sections) -> None:
    """The key that signs exists and is the one that predictors trust; only its public half need be in this pod."""
    import os
    from pathlib import Path

    from components.shared.release.signing import PUBLIC_VARIABLE, check_pair, load_key, parse_public_key

    private, public = Path(flat.get("signing_key", "")), flat.get("public_key", "")
    if not flat.get("signing_key"):
        return
    given = os.environ.get(PUBLIC_VARIABLE, "")
    if given and not private.exists():
        signer, signing = f"{private} of the Secret", parse_public_key(given.encode(), PUBLIC_VARIABLE)
    else:
        signer, signing = str(private), load_key(private).public_key()
    if public:
        check_pair(signing, Path(public), signer)
