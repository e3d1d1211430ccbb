"""Options of the retriever's losses and negative samplers; does not import torch.

A token is a row with one of its drawn targets.
"""

from typing import Annotated, Literal

from pydantic import Field

from components.shared.options import KIND, Count, Options, Rate


class InBatch(Options):
    """Targets of other tokens as negatives; free, but biased towards popular items."""

    kind: Literal["in_batch"] = "in_batch"
    count: Count = 1
    """Number of draws per token, for pairwise losses; a sampled softmax uses all targets of the batch."""


class Uniform(Options):
    """Uniform sampling of all items."""

    kind: Literal["uniform"] = "uniform"
    count: Count = 1
    """Number of draws: per token for pairwise losses, per batch for a sampled softmax."""


class Popularity(Options):
    """Sampling proportional to a power of the training counts.

    Source of the power: Mikolov et al., Distributed Representations of Words and Phrases (NeurIPS 2013).
    """

    kind: Literal["popularity"] = "popularity"
    count: Count = 1
    """Number of draws: per token for pairwise losses, per batch for a sampled softmax."""
    power: Rate = 0.75
    """Exponent of the counts; 0 is uniform."""


class Hard(Options):
    """Hard negatives: the items that the current model ranks highest, except the target.

    Source: Xiong et al., Approximate Nearest Neighbor Negative Contrastive Learning (ICLR 2021).
    """

    kind: Literal["hard"] = "hard"
    count: Count = 1
    """Number of draws per token."""
    pool: Count = 50
    """Number of top items to sample from; a larger pool has fewer false negatives."""
    refresh: Count = 5
    """Steps between refreshes of the item index."""


CandidateSource = InBatch | Uniform | Popularity
"""Sources whose draws have a known probability, which a sampled softmax needs."""

NegativeSource = InBatch | Uniform | Popularity | Hard


class FullSoftmax(Options):
    """All items are negatives; every step runs the item tower over the whole catalog, of up to about 10,000 items."""

    kind: Literal["full_softmax"] = "full_softmax"
    bfloat16: bool = True
    """Whether to compute large products in bfloat16 if supported by the device."""


class SampledSoftmax(Options):
    """Softmax over shared candidates; each logit is corrected by the candidate's log sampling probability.

    Source: Bengio and Senecal, Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
    Model (2008); Yi et al., Sampling-Bias-Corrected Neural Modeling (RecSys 2019).
    """

    kind: Literal["sampled_softmax"] = "sampled_softmax"
    sources: Annotated[tuple[Annotated[CandidateSource, KIND], ...], Field(min_length=1)] = (
        InBatch(),
        Uniform(count=2_048),
    )
    """Sources of candidates, combined; not `hard`, whose sampling probability is unknown."""
    bfloat16: bool = True
    """Whether to compute large products in bfloat16 if supported by the device."""


class Bpr(Options):
    """-log sigmoid(positive - negative).

    Source: Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback (UAI 2009).
    """

    kind: Literal["bpr"] = "bpr"
    source: Annotated[NegativeSource, KIND] = Uniform()
    """Source of negatives."""


class Bce(Options):
    """Binary cross-entropy; all negatives of a token together have the same weight as its positive."""

    kind: Literal["bce"] = "bce"
    source: Annotated[NegativeSource, KIND] = Uniform()
    """Source of negatives."""


class Mse(Options):
    """Mean squared error of explicit ratings; trains on rated visits only, without negatives."""

    kind: Literal["mse"] = "mse"


RankingLoss = FullSoftmax | SampledSoftmax | Bpr | Bce
LossConfig = RankingLoss | Mse
