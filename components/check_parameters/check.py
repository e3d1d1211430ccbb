"""Whether a training run's parameters can be, asked of the very code that later uses them.

A wrong guard would else be told after hours of training, and a misspelt strategy released without any guard. Only this
module knows the other stages. It imports them where they are asked: torch alone takes seconds, and a run with the
defaults has nothing to ask it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.shared.errors import InputError
from components.shared.training.launch import LaunchConfig

STRATEGIES = ("direct", "guarded")
Given = Mapping[str, Any]
"""Pipeline parameter -> its value."""


def check_parameters(given: Given) -> None:
    """Refuse what cannot be.

    Args:
        given: Every parameter of the training pipeline that the checks below read.

    Raises:
        InputError: names the first fault that each of the checks below found, all of them at once.
    """
    wrong = [found for check in (_data, _launch, _retriever, _ranker, _form, _release, _place)
             if (found := _refusal(check, given)) is not None]  # fmt: skip
    if wrong:
        # Several checks need the size: said once.
        told = {one.headline: one.mend for one in wrong}
        raise InputError("; ".join(told), "; ".join(told.values()))


def _refusal(check: Callable[[Given], None], given: Given) -> InputError | None:
    try:
        check(given)
    except InputError as error:
        return error
    return None


def _data(given: Given) -> None:
    from components.ingest_events.mapping import parse_mapping_text
    from components.shared.schema.sizes import size_named

    size_named(given["size"])
    parse_mapping_text(given["mapping"])


def _launch(given: Given) -> None:
    from components.shared.cluster.launching import check_launch

    check_launch(_launched(given))


def _launched(given: Given) -> LaunchConfig:
    return LaunchConfig(launch=given["launch"], nodes=given["nodes"], processes=given["processes"])


def _asked(given: Given, *names: str) -> bool:
    """Whether training differs from the size dial's defaults in any of these, or in how it is spread."""
    return any(given[name] for name in names) or given["processes"] != 1 or given["nodes"] != 1


def _retriever(given: Given) -> None:
    names = ("retriever_hyperparameters", "encoder", "loss", "retriever_optimizer")
    if not _asked(given, *names):
        return
    import dataclasses

    from components.shared.schema.sizes import size_named
    from components.train_retriever.space import configured
    from components.train_retriever.train import RetrieverTraining, check_training

    dial = RetrieverTraining.from_size(size_named(given["size"]), given["seed"], given["processes"])
    config = _named("retriever", lambda: configured(dial, *(given[name] for name in names)))
    _named("retriever", lambda: check_training(dataclasses.replace(config, launch=_launched(given))))


def _ranker(given: Given) -> None:
    names = ("ranker_hyperparameters", "architecture", "ranker_optimizer", "hot_candidates")
    if not _asked(given, *names, "inference_log", "teacher"):
        return
    import dataclasses

    from components.shared.schema.sizes import size_named
    from components.train_ranker.space import configured
    from components.train_ranker.teacher import check_teacher
    from components.train_ranker.train import RankerTraining, check_log, check_training

    dial = RankerTraining.from_size(size_named(given["size"]), given["seed"], given["processes"])
    config = _named("ranker", lambda: configured(dial, *(given[name] for name in names)))
    log, teacher = given["inference_log"], given["teacher"]
    config = dataclasses.replace(config, launch=_launched(given))
    _named("ranker", lambda: check_training(config, bool(log)))
    check_log(config, log)
    check_teacher(teacher, config, log)


def _named(model: str, ask: Callable[[], Any]) -> Any:
    """Both models take an optimizer and what tuning found; say whose it was."""
    try:
        return ask()
    except InputError as error:
        raise InputError(f"{model}: {error.headline}", error.mend) from error


def _form(given: Given) -> None:
    from components.compile_model.config import config_for

    config_for(given["precision"], given["dense_precision"], given["prune"], given["runtime"], given["limits"])


def _release(given: Given) -> None:
    from components.register_model.publishing import publisher_at
    from components.register_model.register import parse_lineage

    parse_lineage(given["lineage"])
    publisher_at(given["publish"], given["storage"])
    if given["strategy"] not in STRATEGIES:
        raise InputError(f"strategy is '{given['strategy']}'", f"use one of: {', '.join(STRATEGIES)}")


def _place(given: Given) -> None:
    """Where and how a version goes live."""
    what = (given["model_name"], given["service"])
    if given["strategy"] == "guarded":
        from components.rollout_model.run import check_evidence, parse_plan, placement

        placement(*what, given["storage"], given["mode"], given["gateway"], 1.0, given["confidential"])
        parse_plan(given["steps"], given["guards"], 1.0, given["service"])
        check_evidence(given["evidence"], given["events"])
    elif given["backend"] != "local":
        from components.deploy_model.deploy import backend_named, kserve_target

        target = kserve_target(*what, given["namespace"], given["storage"], given["mode"], given["confidential"])
        backend_named(given["backend"], Path(given["registry"]), target)
