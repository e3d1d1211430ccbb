"""Options of the ranker's training; does not import torch."""

from typing import Annotated, Self

from pydantic import Field

from components.shared.errors import InputError
from components.shared.models.ranker_options import RankerArchitecture
from components.shared.options import Amount, Count, Fraction, Options, Rate, merged
from components.shared.recommender.candidates import CandidateConfig
from components.shared.schema.sizes import Size
from components.shared.training.launch import LaunchConfig, check_shares
from components.shared.training.optimizer import OptimizerConfig


class TeacherOptions(Options):
    """A larger ranker that is trained first; its predictions become part of the labels (soft labels)."""

    embedding_dim: Amount = 0
    """Width of its embedding rows; 0: twice the ranker's."""
    hidden_dim: Amount = 0
    """Width of its hidden layers; 0: four times the ranker's."""
    architecture: RankerArchitecture | None = None
    """Its layers; missing parts are those of the ranker. null: the same as the ranker."""
    soft_label_weight: Annotated[Fraction, Field(gt=0)] = 0.5
    """Weight of its predictions in a label; the rest is the observed label."""


def _optimizer(seed: int = 0) -> OptimizerConfig:
    return OptimizerConfig(embedding_lr=1e-4, dense_lr=1e-3, schedule="linear", seed=seed)


class RankerOptions(Options):
    """Options of the multi-task ranker."""

    embedding_dim: Count = 16
    """Width of embedding rows; by size: tiny 8, small 16, full 32."""
    hidden_dim: Count = 64
    """Width of the hidden layers; by size: tiny 32, small 64, full 128."""
    epochs: Count = 4
    """Maximum number of epochs; by size: tiny 10, small 4, full 5."""
    batch_shoppers: Count = 8
    """Shoppers of a global batch, each with all of its pairs; by size: tiny 4, small 8, full 16."""
    own_candidates: Amount = 200
    """Candidates from the shopper's own items, in training and serving; by size: 100, 200, 400."""
    retrieved_candidates: Amount = 200
    """Candidates nearest to the user vector (retrieval); by size: 100, 200, 400."""
    similar_candidates: Amount = 200
    """Candidates similar to the shopper's own items (item-kNN); by size: 100, 200, 400."""
    popular_candidates: Amount = 50
    """Most popular candidates in the middle popularity window, and as many with the most new buyers."""
    lexical_candidates: Amount = 200
    """Candidates that match the query's words."""
    hot_candidates: Amount = 0
    """Candidates with the highest time-decayed popularity (trending items)."""
    anonymous_share: Fraction = 0.3
    """Share of shoppers copied without id and history in each training window, to train for anonymous shoppers."""
    id_dropout: Fraction = 0.3
    """Share of shopper ids replaced by the unknown bucket."""
    listwise: Rate = 0.05
    """Weight of the listwise loss relative to the pairwise cross-entropy; 0: none."""
    architecture: RankerArchitecture = RankerArchitecture()
    """Layers after the embeddings: interaction, task heads, target attention, positions."""
    patience: Count = 10
    """Patience of early stopping: epochs without a better validation NDCG@10."""
    refit: bool = True
    """Whether to train the final model again including the validation window, for the best number of epochs; doubles
    the training time."""
    optimizer: OptimizerConfig = Field(default_factory=_optimizer)
    """Rule, learning rates, their schedule, compute dtype, sharding."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    held_pairs: Amount = 15_000_000
    """Maximum number of training or validation pairs held in memory, 172 bytes each per process; more are streamed."""
    inference_log: str = ""
    """Folder of the predictors' inference logs with the positions of shown items; only used by
    architecture.positions."""
    teacher: TeacherOptions | None = None
    """A larger ranker that provides soft labels; null: none; {}: default widths."""
    hyperparameters: str = ""
    """Result of tuning: hyperparameters.json as string, file or folder. Explicit options take precedence."""

    @property
    def candidates(self) -> CandidateConfig:
        """Number of candidates per source."""
        return CandidateConfig(
            own=self.own_candidates, retrieved=self.retrieved_candidates, popular=self.popular_candidates,
            similar=self.similar_candidates, lexical=self.lexical_candidates, hot=self.hot_candidates,
        )  # fmt: skip


class RankerTraining(RankerOptions):
    """Options with the defaults of a size, and the launch settings."""

    launch: LaunchConfig = LaunchConfig()
    """Launch settings of the workers."""

    @classmethod
    def from_size(cls, size: Size, seed: int = 0, launch: LaunchConfig | None = None) -> Self:
        """Return the defaults of a size."""
        return cls(
            embedding_dim=size.embedding_dim // 2, hidden_dim=size.hidden_dim, epochs=size.ranker_epochs,
            batch_shoppers=size.ranker_batch_shoppers, own_candidates=size.candidates,
            retrieved_candidates=size.candidates, similar_candidates=size.candidates, optimizer=_optimizer(seed),
            launch=launch or LaunchConfig(),
        )  # fmt: skip

    def check(self, positions_known: bool = False) -> None:
        """Validate combinations of options.

        Args:
            positions_known: Whether pairs written beforehand may contain the positions of shown items.

        Raises:
            InputError: the processes cannot share a batch evenly, positions are learned without a log, a log is given
                but not used, or a teacher is combined with either.
        """
        check_shares(self.batch_shoppers, self.launch.processes, "shoppers", self.launch.nodes)
        positions = self.architecture.positions
        if positions and not (self.inference_log or positions_known):
            raise InputError(
                f"architecture.positions is {positions}, but there are no positions of shown items",
                "give inference_log, the folder of the predictors' logs, or architecture.positions 0",
            )
        if self.inference_log and not positions:
            raise InputError(
                f"inference_log is {self.inference_log}, but architecture.positions is 0",
                "set the largest position, such as architecture.positions=10, or remove inference_log",
            )
        if self.teacher and (positions or self.teacher_training.architecture.positions):
            raise InputError("teacher and architecture.positions cannot be combined",
                             "remove one of them")  # fmt: skip

    @property
    def teacher_training(self) -> "RankerTraining":
        """Options of the teacher's training: those of the ranker, except for size and layers."""
        teacher = self.teacher or TeacherOptions()
        layers = merged(self.architecture.to_json(), teacher.architecture.set_fields() if teacher.architecture else {})
        return self.replace(
            embedding_dim=teacher.embedding_dim or self.embedding_dim * 2,
            hidden_dim=teacher.hidden_dim or self.hidden_dim * 4,
            architecture=RankerArchitecture.read(layers, "teacher.architecture"), teacher=None,
        )  # fmt: skip

    @property
    def digest_settings(self) -> dict:
        """Options that decide the result, as JSON: all but `launch`, `hyperparameters`, `inference_log`, `teacher`."""
        return self.model_dump(mode="json", exclude={"launch", "hyperparameters", "inference_log", "teacher"})
