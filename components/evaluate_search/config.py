"""Options of the search evaluation."""

from typing import Annotated

from pydantic import Field

from components.shared.evaluation.bootstrap import BootstrapConfig
from components.shared.options import Amount, Count, Limit, Options, Rate

Persistence = Annotated[float, Field(gt=0, lt=1)]
"""Above 0 and below 1."""


class SearchEvaluationOptions(Options):
    """Options of the search evaluation."""

    relevant_grade: Limit = 1.0
    """Lowest grade of a relevant item, for recall and MRR; queries without such an item are not scored."""
    impression_prior: Rate = 10.0
    """Impressions without a click that are added to those of every item when clicks become grades."""
    click_prior: Rate = 2.0
    """Clicks of a query's most clicked item at which its highest grade is half of the maximum of 3."""
    persistence: Persistence = 0.9
    """Weight of a position relative to that before it in the rank-biased overlap with the champion; 0.9: the first ten
    positions have 86 % of the weight."""
    examples: Count = 10
    """Number of most improved, and of most worsened, queries that are shown side by side."""
    ablation: bool = False
    """Whether the search is also measured without each of its steps, which takes about ten times as long."""
    resamples: Count = 10_000
    """Resamples of the queries for each interval."""
    seed: Amount = 0
    """Seed of the resamples."""

    @property
    def bootstrap(self) -> BootstrapConfig:
        """Resamples and seed."""
        return BootstrapConfig(resamples=self.resamples, seed=self.seed)
