"""Suggestions for a shopper who types: those of the catalog and the query log, the shopper's own labels first."""

from collections import Counter

from components.shared.features.catalog import Catalog
from components.shared.features.history import Histories
from components.shared.search.suggestions import SuggestionKind, Suggestions
from serving.answers import Answer, Suggested
from serving.clock import iso
from serving.protocol import Instance
from serving.shoppers import Shoppers
from serving.state.store import NO_STATE, State

_RECENT = 50
"""Latest events whose categories and brands are the shopper's own."""
_UNUSED = ("query", "filters", "exclude", "facets", "cursor")


class Suggester:
    """Answers instances with `suggest`.

    Args:
        suggestions: Of the catalog; None for a bundle of a release without them.
        catalog: Brands and categories.
        shoppers: Histories.
    """

    def __init__(self, suggestions: Suggestions | None, catalog: Catalog, shoppers: Shoppers):
        self._suggestions, self._catalog, self._shoppers = suggestions, catalog, shoppers

    def answer(self, instance: Instance, version: str, request_id: str, state: State = NO_STATE) -> Answer:
        """The suggestions of one instance; what it does not use is reported in `warnings`."""
        warnings = [f"{name}: not used with suggest" for name in _UNUSED if name in instance.model_fields_set]
        histories = self._shoppers.histories(instance, warnings, state.of(instance.user_id))
        found = []
        if self._suggestions is None:
            warnings.append("suggest: this model has no suggestions; compile it again with this shoprank version")
        else:
            found = self._suggestions.suggest(instance.suggest or "", instance.k, self._own(histories))
        return Answer(
            items=[], model_version=version, request_id=request_id, as_of=iso(int(histories.now[0])), warnings=warnings,
            propensities=(), suggestions=[Suggested(text=one.text, kind=one.kind, own=one.own) for one in found],
        )  # fmt: skip

    def _own(self, histories: Histories) -> dict[str, SuggestionKind]:
        """Categories and brands of the shopper's latest events, the most frequent first, then the latest."""
        counts: Counter[tuple[str, SuggestionKind]] = Counter()
        for item in histories.item[: -_RECENT - 1 : -1].tolist():
            for name in self._catalog.categories[item].as_py() or ():
                counts[name, "category"] += 1
            counts[self._catalog.brand[item].as_py() or "", "brand"] += 1
        own: dict[str, SuggestionKind] = {}
        for (name, kind), _ in counts.most_common():
            if name:
                own.setdefault(name, kind)
        return own
