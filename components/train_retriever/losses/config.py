"""What the retriever may learn by, one options model each, and where negatives come from; apart from torch."""

from typing import Annotated, Literal

from pydantic import Field

from components.shared.options import KIND, Count, Options, Rate


class InBatch(Options):
    """Targets of other tokens; costs no draw, and popular items come often."""

    kind: Literal["in_batch"] = "in_batch"
    count: Count = 1
    """A token, for losses on pairs; a sampled softmax takes all of the batch's targets."""


class Uniform(Options):
    """Every item alike."""

    kind: Literal["uniform"] = "uniform"
    count: Count = 1
    """Draws: a token for losses on pairs, a batch for a sampled softmax."""


class Popularity(Options):
    """In proportion to training counts to a power.

    Source of the power: Mikolov et al., Distributed Representations of Words and Phrases (NeurIPS 2013).
    """

    kind: Literal["popularity"] = "popularity"
    count: Count = 1
    """Draws: a token for losses on pairs, a batch for a sampled softmax."""
    power: Rate = 0.75
    """1 draws by popularity itself, 0 is uniform."""


class Hard(Options):
    """The items that the model now ranks highest for the token, its own target left out.

    Source: Xiong et al., Approximate Nearest Neighbor Negative Contrastive Learning (ICLR 2021).
    """

    kind: Literal["hard"] = "hard"
    count: Count = 1
    """Draws a token."""
    pool: Count = 50
    """How many of the highest are drawn from; a larger pool holds fewer items that are in truth liked."""
    refresh: Count = 5
    """Steps that an index of all items is used for; a checkpoint ends it too."""


CandidateSource = InBatch | Uniform | Popularity
"""Sources whose draws have a known probability, which a sampled softmax needs."""

NegativeSource = InBatch | Uniform | Popularity | Hard


class FullSoftmax(Options):
    """Every item is a negative: the item tower runs over the whole catalog at every step; for some 10,000 items."""

    kind: Literal["full_softmax"] = "full_softmax"
    bfloat16: bool = True
    """Whether the large products are made in bfloat16, where the device multiplies it; else float32 is faster."""


class SampledSoftmax(Options):
    """Shared candidates, each logit corrected by its log probability to be drawn.

    Source: Bengio and Senecal, Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
    Model (2008); Yi et al., Sampling-Bias-Corrected Neural Modeling (RecSys 2019).
    """

    kind: Literal["sampled_softmax"] = "sampled_softmax"
    sources: Annotated[tuple[Annotated[CandidateSource, KIND], ...], Field(min_length=1)] = (
        InBatch(),
        Uniform(count=2_048),
    )
    """Where candidates come from, joined; `hard` is not among them, because its draws have no known probability."""
    bfloat16: bool = True
    """Whether the large products are made in bfloat16, where the device multiplies it; else float32 is faster."""


class Bpr(Options):
    """-log sigmoid(positive - negative).

    Source: Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback (UAI 2009).
    """

    kind: Literal["bpr"] = "bpr"
    source: Annotated[NegativeSource, KIND] = Uniform()
    """Where negatives come from."""


class Bce(Options):
    """Binary cross-entropy of positive and negatives; the negatives weigh as much as the positive, however many."""

    kind: Literal["bce"] = "bce"
    source: Annotated[NegativeSource, KIND] = Uniform()
    """Where negatives come from."""


class Mse(Options):
    """Mean squared error of explicit ratings: learns from rated visits alone and has no negatives."""

    kind: Literal["mse"] = "mse"


RankingLoss = FullSoftmax | SampledSoftmax | Bpr | Bce
LossConfig = RankingLoss | Mse
