"""Options of the evaluation: resamples, the release gates, slices."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from components.shared.options import Amount, Count, Fraction, Options, Rate, merged
from components.shared.schema.sizes import Size

Baseline = Literal["popularity", "recent popularity", "personal frequency", "item-kNN"]
"""What every model is held against."""
Factor = Annotated[float, Field(ge=1)]
"""1 or more."""


class BootstrapConfig(Options):
    """How intervals are made."""

    resamples: Count = 500
    """Resamples behind every interval; by size: tiny 200, small 500, full 1000."""
    seed: Amount = 0
    """Of the resamples."""


class Rules(Options):
    """Limits of the decision. The defaults tell a trained model from an untrained one even on sixty shoppers."""

    beat: tuple[Baseline, ...] = ("popularity", "recent popularity", "personal frequency", "item-kNN")
    """Baselines that the model is held against, by overall NDCG@10; size tiny leaves out personal frequency."""
    tolerance: Rate = 0.05
    """How far the mean difference to a baseline or to the champion may fall below zero, as long as its interval
    reaches above zero: on few shoppers, that is noise."""
    certain: bool = False
    """Whether intervals of the difference to every baseline must lie wholly above zero; for large data."""
    min_shoppers: Amount = 10
    """Fewer test shoppers prove nothing."""
    min_auc: Fraction = 0.6
    """Least area under the ROC curve of the ranker on its candidates."""
    max_calibration_error: Fraction = 0.05
    """Largest mean difference between predicted and observed probability."""
    max_calibration_ratio: Factor = 2.5
    """Predicted over observed target events must lie between its inverse and this."""
    max_shuffled_errors: Rate = 4.0
    """Standard errors that a model with shuffled labels may lie from chance (AUC 0.5); further away, labels leak."""
    max_learned_auc: Fraction = 0.99
    """Largest area under the ROC curve that a plain model of the ranker's inputs may reach; above it, they have seen
    the future."""
    max_single_input_auc: Fraction = 0.99
    """Largest area under the ROC curve that one input of the ranker may reach alone; above it, it holds the label."""
    min_coverage: Fraction = 0.01
    """Least share of the catalog that the ten best of all test shoppers hold together, or of their positions where
    there are fewer positions than items: the same ten items for everybody are no recommendation."""


class EvaluationOptions(Options):
    """How a model is measured and what it must show."""

    bootstrap: BootstrapConfig = BootstrapConfig()
    """Resamples and seed of every interval."""
    rules: Rules = Rules()
    """Limits of the decision."""
    recent_days: Count = 28
    """Window of the recent popularity baseline."""
    new_below_visits: Count = 20
    """Shoppers with fewer visits before the test moment are the slice of new ones."""
    calibration_bins: Count = 10
    """Bins of equal counts."""
    max_shoppers: Count = 20_000
    """Of a larger test split, evenly spaced shoppers are taken, so that memory stays bounded."""

    @classmethod
    def for_size(cls, size: Size, given: Mapping[str, Any] = MappingProxyType({})) -> Self:
        """The defaults of a size with what the section `evaluation` gives.

        Raises:
            InputError: names the path of what cannot be used.
        """
        preset: dict[str, Any] = {"bootstrap": {"resamples": size.bootstrap}}
        if size.name == "tiny":
            # Sixty shoppers teach a model less than counting their own purchases tells; untrained it still fails.
            preset["rules"] = {"beat": [name for name in Rules().beat if name != "personal frequency"]}
        return cls.read(merged(preset, given), "evaluation")
