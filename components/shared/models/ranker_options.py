"""Options of the ranker's architecture; does not import torch."""

from typing import Annotated, Literal

from components.shared.options import KIND, Amount, Count, Options


class DotConfig(Options):
    """Dot products of all pairs of vectors.

    Source: Naumov et al., Deep Learning Recommendation Model for Personalization and Recommendation Systems (2019).
    """

    kind: Literal["dot"] = "dot"


class CrossConfig(Options):
    """Crosses of increasing degree, one per layer, in parallel to a deep part.

    Source: Wang et al., DCN V2: Improved Deep & Cross Network (WWW 2021), the parallel form.
    """

    kind: Literal["cross"] = "cross"
    layers: Count = 2
    """Cross layers; layer n adds features of degree n + 1."""
    rank: Amount = 32
    """Rank of each layer's factorised matrix; 0: a full matrix."""


class FactorizationConfig(Options):
    """First- and second-order terms are added to the logits, in parallel to a deep part.

    Source: Guo et al., DeepFM: A Factorization-Machine based Neural Network for CTR Prediction (IJCAI 2017).
    """

    kind: Literal["factorization"] = "factorization"


class ConcatConfig(Options):
    """Concatenated vectors; with target attention over the sequence this is the Deep Interest Network.

    Source: Zhou et al., Deep Interest Network for Click-Through Rate Prediction (KDD 2018).
    """

    kind: Literal["concat"] = "concat"


InteractionConfig = DotConfig | CrossConfig | FactorizationConfig | ConcatConfig
INTERACTIONS: tuple[type[InteractionConfig], ...] = (DotConfig, CrossConfig, FactorizationConfig, ConcatConfig)


class SingleTaskConfig(Options):
    """A separate tower for each task."""

    kind: Literal["single_task"] = "single_task"


class SharedBottomConfig(Options):
    """One tower for all tasks.

    Source: Caruana, Multitask Learning (Machine Learning 28, 1997).
    """

    kind: Literal["shared_bottom"] = "shared_bottom"


class MmoeConfig(Options):
    """Shared experts that each task mixes with a separate gate.

    Source: Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts (KDD 2018).
    """

    kind: Literal["mmoe"] = "mmoe"
    experts: Count = 4
    """Number of experts, each of the hidden width."""


class PleConfig(Options):
    """Separate experts of each task and shared experts, combined layer by layer.

    Source: Tang et al., Progressive Layered Extraction (RecSys 2020).
    """

    kind: Literal["ple"] = "ple"
    shared: Count = 2
    """Number of shared experts per layer."""
    own: Count = 2
    """Number of experts per task and layer."""
    layers: Count = 2
    """Number of extraction layers."""


HeadsConfig = SingleTaskConfig | SharedBottomConfig | MmoeConfig | PleConfig
HEADS: tuple[type[HeadsConfig], ...] = (SingleTaskConfig, SharedBottomConfig, MmoeConfig, PleConfig)


class TargetAttentionConfig(Options):
    """Options of target attention: shape of the activation unit."""

    hidden_dim: Count = 16
    """Width of its hidden layer."""


class RankerArchitecture(Options):
    """Layers after the embeddings."""

    interaction: Annotated[InteractionConfig, KIND] = DotConfig()
    """Feature interaction of the embeddings."""
    heads: Annotated[HeadsConfig, KIND] = SharedBottomConfig()
    """Multi-task heads."""
    positions: Amount = 0
    """Number of positions with a learned examination probability (examination.py); 0: no position bias."""
    attention: TargetAttentionConfig | None = None
    """Target attention over the sequence; null: a weighted sum, independent of the item."""
