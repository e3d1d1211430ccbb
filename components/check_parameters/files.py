"""Fingerprints of the files outside a pipeline that its steps read: inputs of the steps that KFP's cache may skip."""

from collections.abc import Mapping
from typing import Any

from components.ingest_events import complete_journey
from components.shared.errors import InputError
from components.shared.fingerprint import fingerprint

_FILES = {
    "ingest_events": ("data.items_source", "data.users_source"),
    "validate_data": ("data.validation.previous_statistics",),
    "train_retriever": ("retriever.hyperparameters",),
    "train_ranker": ("ranker.hyperparameters", "ranker.inference_log"),
}
"""Step -> options that name a file, folder or URI that it reads."""
_OF_EVENTS = ("ingest_events", "validate_data")
"""Steps that a pipeline without events lacks."""


def fingerprints(source: str, sections: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Fingerprint the files that each step reads; '' for a step that reads none.

    Args:
        source: Source of ingest_events; '': the pipeline has none.
        sections: Sections of ShopConfig.

    Raises:
        InputError: names the option whose files do not exist or cannot be listed.
    """
    found = {}
    for step, options in _FILES.items():
        if not source and step in _OF_EVENTS:
            # The catalog pipeline has the section `data` of a training, but reads none of that training's files.
            found[step] = ""
            continue
        named = {option: _value(sections, option) for option in options}
        if step == "ingest_events":
            named = {"source": source, **named}
        found[step] = "-".join(filter(None, (_fingerprint(option, value) for option, value in named.items())))
    return found


def _value(sections: Mapping[str, Any], option: str) -> str:
    value: Any = sections
    for part in option.split("."):
        value = (value or {}).get(part) or ""
    return str(value)


def _fingerprint(option: str, value: str) -> str:
    # Tuning gives hyperparameters as JSON, which is an input of the step as it is.
    if not value or value.lstrip().startswith("{"):
        return ""
    if option == "source" and value == complete_journey.NAME:
        return complete_journey.version()
    try:
        return fingerprint(value)
    except InputError as error:
        raise InputError(f"{option}: {error.headline}", error.fix) from error
