"""Options of the ranker's training; apart from torch, which only workers import."""

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
    """Its layers; parts that are not given are the ranker's. null: all of them."""
    soft_label_weight: Annotated[Fraction, Field(gt=0)] = 0.5
    """Weight of its predictions in a label; the rest is what really happened."""


def _optimizer(seed: int = 0) -> OptimizerConfig:
    return OptimizerConfig(embedding_lr=1e-4, dense_lr=1e-3, schedule="linear", seed=seed)


class RankerOptions(Options):
    """How the multi-task ranker is trained."""

    embedding_dim: Count = 16
    """Width of embedding rows; by size: tiny 8, small 16, full 32."""
    hidden_dim: Count = 64
    """Width of the hidden layers; by size: tiny 32, small 64, full 128."""
    epochs: Count = 4
    """Upper limit of passes over the pairs; by size: tiny 10, small 4, full 5."""
    batch_shoppers: Count = 8
    """Shoppers of a global batch, each with all of its pairs; by size: tiny 4, small 8, full 16."""
    own_candidates: Amount = 200
    """Candidates among the items a shopper has touched, in training and in serving; by size: 100, 200, 400."""
    retrieved_candidates: Amount = 200
    """Candidates nearest to the user vector; by size: 100, 200, 400."""
    similar_candidates: Amount = 200
    """Candidates similar to what the shopper has touched; by size: 100, 200, 400."""
    popular_candidates: Amount = 50
    """Candidates of the most target events in the middle popularity window, and as many of the most new shoppers."""
    lexical_candidates: Amount = 200
    """Candidates that match the query's words."""
    hot_candidates: Amount = 0
    """Candidates of the highest time-decayed popularity, which a surge lifts within days."""
    anonymous_share: Fraction = 0.3
    """Share of the shoppers of whom a training window holds a copy without id and history, so that anonymous shoppers
    are answered from what all of them bought."""
    id_dropout: Fraction = 0.3
    """Share of shopper ids replaced by the unknown bucket."""
    listwise: Rate = 0.05
    """Weight of the loss over each shopper's list beside the mean cross-entropy of pairs; 0: none."""
    architecture: RankerArchitecture = RankerArchitecture()
    """The layers behind the embeddings: interaction, task heads, target attention, positions."""
    patience: Count = 10
    """Epochs without a better validation NDCG@10 before training ends."""
    refit: bool = True
    """Whether the final model is trained again on the validation window too, for as many epochs as were best on it;
    takes about as long again."""
    optimizer: OptimizerConfig = Field(default_factory=_optimizer)
    """Rule, learning rates, their schedule, compute dtype, sharding."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    held_pairs: Amount = 15_000_000
    """More training pairs, or more validation pairs, than these are streamed, not held in memory, where each takes 172
    bytes in every process."""
    inference_log: str = ""
    """Folder of the predictors' logs, which say at which positions items were shown; needed by
    architecture.positions, and by nothing else."""
    teacher: TeacherOptions | None = None
    """A larger ranker whose predictions the labels carry; null: none; {}: one of the default widths."""
    hyperparameters: str = ""
    """What tuning found: hyperparameters.json as text, its file or its folder. Options given beside it win over it."""

    @property
    def candidates(self) -> CandidateConfig:
        """How many candidates each source brings."""
        return CandidateConfig(
            own=self.own_candidates, retrieved=self.retrieved_candidates, popular=self.popular_candidates,
            similar=self.similar_candidates, lexical=self.lexical_candidates, hot=self.hot_candidates,
        )  # fmt: skip


class RankerTraining(RankerOptions):
    """The options of a size and how its workers are launched."""

    launch: LaunchConfig = LaunchConfig()
    """Where workers run, how many, and restarts."""

    @classmethod
    def from_size(cls, size: Size, seed: int = 0, launch: LaunchConfig | None = None) -> Self:
        """The defaults of a size."""
        return cls(
            embedding_dim=size.embedding_dim // 2, hidden_dim=size.hidden_dim, epochs=size.ranker_epochs,
            batch_shoppers=size.ranker_batch_shoppers, own_candidates=size.candidates,
            retrieved_candidates=size.candidates, similar_candidates=size.candidates, optimizer=_optimizer(seed),
            launch=launch or LaunchConfig(),
        )  # fmt: skip

    def check(self, positions_known: bool = False) -> None:
        """Refuse what no features could be trained with.

        Args:
            positions_known: Whether pairs that were written beforehand may say at which positions items were shown.

        Raises:
            InputError: the processes cannot share a batch evenly, positions are learned without a log, a log has no
                use, or a teacher comes with either.
        """
        check_shares(self.batch_shoppers, self.launch.processes, "shoppers", self.launch.nodes)
        positions = self.architecture.positions
        if positions and not (self.inference_log or positions_known):
            raise InputError(
                f"architecture.positions is {positions}, but nothing says at which positions items were shown",
                "give inference_log, the folder of the predictors' logs, or architecture.positions 0",
            )
        if self.inference_log and not positions:
            raise InputError(
                f"inference_log is {self.inference_log}, but the architecture learns no positions",
                "give the largest position to tell apart, such as architecture.positions=10, or no log",
            )
        if self.teacher and (positions or self.taught_by.architecture.positions):
            raise InputError("teacher is given together with architecture.positions",
                             "leave one of them out: soft labels do not depend on the position")  # fmt: skip

    @property
    def taught_by(self) -> "RankerTraining":
        """How the teacher is trained: as the ranker, but for its size and layers."""
        teacher = self.teacher or TeacherOptions()
        layers = merged(self.architecture.to_json(), teacher.architecture.set_fields() if teacher.architecture else {})
        return self.replace(
            embedding_dim=teacher.embedding_dim or self.embedding_dim * 2,
            hidden_dim=teacher.hidden_dim or self.hidden_dim * 4,
            architecture=RankerArchitecture.read(layers, "teacher.architecture"), teacher=None,
        )  # fmt: skip

    @property
    def decisive(self) -> dict:
        """What decides the result, as JSON values: everything but where the workers run."""
        return self.model_dump(mode="json", exclude={"launch", "hyperparameters", "inference_log", "teacher"})
