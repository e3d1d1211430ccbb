"""Answers of the predictor: V1 objects and V2 columns."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer


class Item(BaseModel):
    """One answered item."""

    item_id: str
    title: str
    price: float | None
    """None when unknown."""
    score: float
    reasons: list[str]


class Suggested(BaseModel):
    """One suggestion."""

    text: str
    kind: str
    """query, brand, category, phrase (of titles) or title."""
    own: bool
    """Whether it is a category or brand of the shopper's latest events."""


_LEFT_OUT_IF_EMPTY = ("search", "facets", "rules", "redirect", "stale")


class Answer(BaseModel):
    """The answer to one `Instance`."""

    items: list[Item]
    model_version: str
    request_id: str
    note: str = ""
    """Set when the shopper is unknown."""
    as_of: str = ""
    """Time of the answer, ISO 8601 in UTC; reasons such as '9 days ago' refer to it."""
    warnings: list[str] = []
    """Ignored parts of the request, with the cause."""
    search: dict[str, Any] = {}
    """What the query was understood as, without what does not apply: text, corrected, synonyms, unknown, price_min,
    price_max, cheap, without, names, relaxed, by."""
    rules: tuple[str, ...] = ()
    """Names of the merchandiser's rules that did something to the answer."""
    redirect: str = ""
    """Path or address that a rule tells the frontend to open."""
    total: int = 0
    """Number of items on all pages together."""
    cursor: str = ""
    """Field `cursor` of the request for the next page; '' on the last one."""
    facets: dict[str, Any] = {}
    """By the facets that were asked for: {values: [{value, count}], others, missing}; price: {bands: [{min, max,
    count}], missing}."""
    stale: bool = False
    """Whether online events of the shopper may be missing, as their store did not answer."""
    suggestions: list[Suggested] | None = None
    """Only of an instance with `suggest`, best first."""
    propensities: tuple[float, ...] = Field((), exclude=True)
    """Only for the inference log: probability of each item at its position; empty without exploration."""

    def as_json(self) -> dict[str, Any]:
        """The same as `model_dump`, whose checks of each value take as long as a small answer."""
        said = {**self.__dict__, "items": [item.__dict__ for item in self.items]}
        del said["propensities"]
        for name in _LEFT_OUT_IF_EMPTY:
            if not said[name]:
                del said[name]
        if self.suggestions is None:
            del said["suggestions"]
        else:
            said["suggestions"] = [one.__dict__ for one in self.suggestions]
        return said

    @model_serializer(mode="wrap")
    def _without_empty_parts(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `search` where there is no query, and without what was not asked for or has not happened."""
        left_out = {name for name in _LEFT_OUT_IF_EMPTY if not getattr(self, name)}
        left_out |= {"suggestions"} if self.suggestions is None else set()
        return {name: value for name, value in write(self).items() if name not in left_out}


V2_OUTPUTS = {
    "item_id": "BYTES", "title": "BYTES", "price": "FP32", "score": "FP32", "reasons": "BYTES", "count": "INT32",
    "note": "BYTES", "warnings": "BYTES", "as_of": "BYTES", "search": "BYTES", "total": "INT32", "cursor": "BYTES",
    "facets": "BYTES", "suggestions": "BYTES", "rules": "BYTES", "redirect": "BYTES", "stale": "BOOL",
}  # fmt: skip
"""V2 output tensors: [n, width] up to `reasons` (joined by '; '), [n] after it; `search`, `facets`, `suggestions` and
`rules` are JSON. Rows are padded to the longest answer; only the first `count` positions of a row are items. An unknown
price is 0."""


def answer_columns(answers: Sequence[Answer]) -> tuple[int, dict[str, list[Any]]]:
    """Length of the longest answer, and the flat values of every V2 output."""
    width = max((len(answer.items) for answer in answers), default=0)
    padding = Item(item_id="", title="", price=None, score=0.0, reasons=[])
    items = [item for answer in answers for item in [*answer.items, *[padding] * (width - len(answer.items))]]
    return width, {
        "item_id": [item.item_id for item in items],
        "title": [item.title for item in items],
        "price": [item.price or 0.0 for item in items],
        "score": [item.score for item in items],
        "reasons": ["; ".join(item.reasons) for item in items],
        "count": [len(answer.items) for answer in answers],
        "note": [answer.note for answer in answers],
        "warnings": ["; ".join(answer.warnings) for answer in answers],
        "as_of": [answer.as_of for answer in answers],
        "search": [json.dumps(answer.search, ensure_ascii=False) for answer in answers],
        "rules": [json.dumps(answer.rules, ensure_ascii=False) for answer in answers],
        "redirect": [answer.redirect for answer in answers],
        "stale": [answer.stale for answer in answers],
        "total": [answer.total for answer in answers],
        "cursor": [answer.cursor for answer in answers],
        "facets": [json.dumps(answer.facets, ensure_ascii=False) for answer in answers],
        "suggestions": [
            json.dumps([one.model_dump() for one in answer.suggestions or ()], ensure_ascii=False) for answer in answers
        ],
    }
