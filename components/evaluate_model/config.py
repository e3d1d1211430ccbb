"""Options of the evaluation: resamples, the release gates, slices."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from components.shared.evaluation.bootstrap import BootstrapConfig
from components.shared.options import Amount, Count, Fraction, Options, Rate, merged
from components.shared.schema.sizes import Size

Baseline = Literal["popularity", "recent popularity", "personal frequency", "item-kNN"]
"""Baselines of the evaluation."""
Factor = Annotated[float, Field(ge=1)]
"""1 or more."""


class Rules(Options):
    """Release gates. The defaults distinguish a trained from an untrained model even with sixty shoppers."""

    beat: tuple[Baseline, ...] = ("popularity", "recent popularity", "personal frequency", "item-kNN")
    """Baselines that the model must match in overall NDCG@10; size tiny omits personal frequency."""
    tolerance: Rate = 0.05
    """Maximum deficit of the mean difference to a baseline or the champion, if its interval includes values above
    zero."""
    certain: bool = False
    """Whether intervals of the difference to every baseline must be entirely above zero; for large data."""
    min_shoppers: Amount = 10
    """Minimum number of test shoppers."""
    min_training_rows: Amount = 20
    """Minimum number of rows that the retriever was trained on."""
    min_trained_items: Amount = 2
    """Minimum number of items with an embedding of their own."""
    min_auc: Fraction = 0.6
    """Minimum area under the ROC curve of the ranker on its candidates."""
    max_calibration_error: Fraction = 0.05
    """Maximum mean difference between predicted and observed probability."""
    max_calibration_ratio: Factor = 2.5
    """Maximum ratio of predicted to observed target events; its inverse is the minimum."""
    max_shuffled_errors: Rate = 4.0
    """Maximum distance of the AUC with shuffled labels from 0.5, in standard errors; larger values indicate leakage."""
    max_learned_auc: Fraction = 0.99
    """Maximum area under the ROC curve of a simple model of the ranker's inputs; larger values indicate leakage."""
    max_single_input_auc: Fraction = 0.99
    """Maximum area under the ROC curve of a single ranker input; larger values indicate leakage."""
    min_coverage: Fraction = 0.01
    """Minimum catalog coverage of the ten best items of all test shoppers, relative to the number of items or of
    positions, whichever is smaller."""


class EvaluationOptions(Options):
    """Options of the evaluation and the release gates."""

    bootstrap: BootstrapConfig = BootstrapConfig()
    """Resamples and seed of every interval."""
    rules: Rules = Rules()
    """Release gates."""
    recent_days: Count = 28
    """Window of the recent popularity baseline in days."""
    new_below_visits: Count = 20
    """Shoppers with fewer visits are in the slice of new shoppers."""
    calibration_bins: Count = 10
    """Number of calibration bins of equal counts."""
    max_shoppers: Count = 20_000
    """Maximum number of test shoppers; larger splits are sampled evenly to bound memory."""

    @classmethod
    def for_size(cls, size: Size, given: Mapping[str, Any] = MappingProxyType({})) -> Self:
        """The defaults of a size, updated with section `evaluation`.

        Raises:
            InputError: names the path of an invalid value.
        """
        preset: dict[str, Any] = {"bootstrap": {"resamples": size.bootstrap}}
        if size.name == "tiny":
            # With sixty shoppers a trained model is worse than personal frequency; an untrained one still fails.
            preset["rules"] = {"beat": [name for name in Rules().beat if name != "personal frequency"]}
        return cls.read(merged(preset, given), "evaluation")
