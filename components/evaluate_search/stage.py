"""The evaluation as a step of a pipeline: what it measures follows from its inputs, and it reports to the log."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.evaluate import STAGE, Searched, SearchEvaluation, evaluate_search
from components.evaluate_search.systems import ModelSearch
from components.shared.errors import BundleError, InputError
from components.shared.progress import report, tell
from components.shared.release.registry import CHAMPION, Registry
from components.shared.search.config import SearchOptions


def searched(
    items: str, bundle: Path | None, registry: str, model_name: str, public_key: str, data: Mapping[str, Any],
    search: Mapping[str, Any],
) -> Searched:  # fmt: skip
    """The items, else the bundle, else the champion; the champion is compared with, unless it is measured itself.

    Args:
        items: See Searched.
        bundle: See Searched.
        registry: Folder or s3:// URI; '': none.
        model_name: Name in the registry.
        public_key: See Searched.
        data: See Searched.
        search: Options of SearchOptions.
    """
    champion = _champion(registry, model_name)
    if not items and bundle is None:
        bundle, champion = champion, None
    champion = champion if champion is None or _opens(champion, public_key) else None
    options = SearchOptions.read(search, "search")
    return Searched(items=items, data=data, search=options, bundle=bundle, champion=champion, public_key=public_key)


def _champion(registry: str, model_name: str) -> Path | None:
    """The champion's bundle, or None when no registry is given, or it has no champion of this name."""
    found = Registry(registry) if registry else None
    has_one = found is not None and CHAMPION in found.aliases(model_name)
    return found.resolve(f"{model_name}/{CHAMPION}") if found and has_one else None


def _opens(champion: Path, public_key: str) -> bool:
    """Whether the champion can be compared with; one of an older format or with another key must not block a model."""
    try:
        ModelSearch(champion, public_key)
    except (BundleError, InputError) as error:
        tell(STAGE, f"the champion {champion.name} cannot be opened ({error.headline}), so it was not compared")
        return False
    return True


def run(source: str, wanted: Searched, out: Path, html: Path, options: Mapping[str, Any]) -> SearchEvaluation:
    """Evaluate, and tell what was left out; see evaluate_search.

    Raises:
        InputError: an option is invalid; see evaluate_search for the others.
    """
    read = SearchEvaluationOptions.read(options, "options")
    found = evaluate_search(source, wanted, out, html, read, partial(report, STAGE))
    for note in found.notes:
        tell(STAGE, note)
    return found
