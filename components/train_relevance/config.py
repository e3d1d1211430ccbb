"""Options of the training of a relevance model."""

from typing import Annotated, Literal

from pydantic import Field

from components.shared.options import Amount, Count, Options, Rate

Feature = Literal[
    "lexical", "log_lexical", "meaning", "coverage", "title", "brand", "category", "attributes", "description",
    "exact", "price", "popularity", "available", "freshness",
]  # fmt: skip
"""A feature of components/shared/search/relevance.py."""


class RelevanceOptions(Options):
    """Options of the training of a relevance model."""

    encoder: str = ""
    """Folder or URI of a text encoder that encode_text wrote, for a catalog without a model; a bundle has its own."""
    features: Annotated[tuple[Feature, ...], Field(min_length=1)] = (
        "lexical", "log_lexical", "meaning", "coverage", "title", "brand", "category", "attributes", "description",
        "exact", "price", "popularity", "available", "freshness",
    )  # fmt: skip
    """Features that may weigh something."""
    l2: Annotated[tuple[Rate, ...], Field(min_length=1)] = (0.0003, 0.003, 0.03)
    """Penalties of squared weights of which cross-validation chooses."""
    signs: Annotated[tuple[Literal["any", "positive"], ...], Field(min_length=1)] = ("any", "positive")
    """Whether a weight may be negative, of which cross-validation chooses; positive is safer with few judgments."""
    trees: tuple[Count, ...] = (100,)
    """Numbers of trees of LambdaMART of which cross-validation chooses, beside the linear models; none: these alone."""
    least_queries_for_trees: Count = 300
    """Queries with a relevant item from which on LambdaMART is considered; with fewer it learns chance."""
    least_showings: Count = 200
    """Answers with a click to known shoppers, after the data of the bundle, from which on the weight of the shopper's
    ranker is learned."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Folds of the queries, of the estimate and, within each part, of the choice."""
    repeats: Count = 3
    """Divisions into folds, over which the estimate is averaged."""
    candidates: Annotated[int, Field(ge=1, le=9_000)] = 1_000
    """Items of a query, of which those without a judgment have grade 0; those found by meaning alone come on top, and
    LightGBM takes 10,000 in all."""
    seed: Amount = 0
    """Seed of the divisions."""
