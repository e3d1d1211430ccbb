"""Options of the retriever's training; apart from torch, which only workers import."""

from typing import Annotated, Self

from components.shared.models.encoders.config import EncoderConfig
from components.shared.options import KIND, Amount, Count, Fraction, Options
from components.shared.schema.sizes import Size
from components.shared.training.launch import LaunchConfig, check_shares
from components.shared.training.optimizer import OptimizerConfig
from components.train_retriever.losses.config import LossConfig, Mse


class SamplingConfig(Options):
    """How rows become batches."""

    batch_size: Count = 512
    """Rows of a global batch, over all ranks; by size: tiny 256, small 512, full 1024."""
    targets: Count = 4
    """Targets drawn from each row; all of the batch's targets are candidates of every row."""
    id_dropout: Fraction = 0.1
    """Share of ids replaced by the unknown bucket, so that it is trained for new shoppers and items."""
    title_queries: Fraction = 0.1
    """Share of rows that ask for one of their targets by words of its title, so that queries meet items."""
    held_rows: Amount = 2_000_000
    """Files of more rows are streamed, not held in memory."""
    seed: Amount = 0
    """Of orders, draws and dropouts; the run's seed unless given."""


class RetrieverOptions(Options):
    """How the two-tower retriever is trained."""

    embedding_dim: Count = 32
    """Width of embeddings and vectors; by size: tiny 16, small 32, full 64."""
    hidden_dim: Count = 64
    """Width of the hidden layers; by size: tiny 32, small 64, full 128."""
    epochs: Count = 4
    """Upper limit of passes over the rows; by size: tiny 2, small 4, full 6."""
    patience: Count = 2
    """Epochs without a better validation metric before training ends."""
    sampling: SamplingConfig = SamplingConfig()
    """Batches, targets, dropout."""
    encoder: Annotated[EncoderConfig, KIND] | None = None
    """What reads the behaviour sequence in its order; null: it is only summed up."""
    loss: Annotated[LossConfig, KIND] | None = None
    """What is minimised; null: softmax over the batch's targets with log-Q correction. `mse` needs ratings."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Rule, learning rates, compute dtype, sharding."""
    checkpoint_every: Count = 200
    """Steps between checkpoints."""
    hyperparameters: str = ""
    """What tuning found: hyperparameters.json as text, its file or its folder. Options given beside it win over it."""

    @property
    def learns_ratings(self) -> bool:
        """Whether it learns from rated visits instead of target events."""
        return isinstance(self.loss, Mse)


class RetrieverTraining(RetrieverOptions):
    """The options of a size and how its workers are launched."""

    launch: LaunchConfig = LaunchConfig()
    """Where workers run, how many, and restarts."""

    @classmethod
    def from_size(cls, size: Size, seed: int = 0, launch: LaunchConfig | None = None) -> Self:
        """The defaults of a size."""
        return cls(
            sampling=SamplingConfig(batch_size=size.batch_size, seed=seed), embedding_dim=size.embedding_dim,
            hidden_dim=size.hidden_dim, epochs=size.retriever_epochs, optimizer=OptimizerConfig(seed=seed),
            launch=launch or LaunchConfig(),
        )  # fmt: skip

    def check(self) -> None:
        """Refuse what no features could be trained with.

        Raises:
            InputError: the processes cannot share a batch evenly.
        """
        check_shares(self.sampling.batch_size, self.launch.processes, "rows", self.launch.nodes)

    @property
    def decisive(self) -> dict:
        """What decides the result, as JSON values: everything but where the workers run."""
        return self.model_dump(mode="json", exclude={"launch", "hyperparameters"})
