"""Options of the retriever's training; does not import torch."""

from typing import Annotated, Self

from components.shared.models.encoders.config import EncoderConfig
from components.shared.options import KIND, Amount, Count, Fraction, Options
from components.shared.schema.sizes import Size
from components.shared.training.launch import LaunchConfig, check_shares
from components.shared.training.optimizer import OptimizerConfig
from components.train_retriever.losses.config import LossConfig, Mse


class SamplingConfig(Options):
    """Options of batches."""

    batch_size: Count = 512
    """Rows of a global batch, over all ranks; by size: tiny 256, small 512, full 1024."""
    targets: Count = 4
    """Targets sampled from each row; all targets of the batch are candidates of every row."""
    id_dropout: Fraction = 0.1
    """Share of ids replaced by the unknown bucket, to train it for new shoppers and items."""
    title_queries: Fraction = 0.1
    """Share of rows with a synthetic query from the title of a target."""
    held_rows: Amount = 2_000_000
    """Maximum number of rows held in memory; larger files are streamed."""
    seed: Amount = 0
    """Seed of order, sampling and dropout; the run's seed by default."""


class RetrieverOptions(Options):
    """Options of the two-tower retriever."""

    embedding_dim: Count = 32
    """Width of embeddings and vectors; by size: tiny 16, small 32, full 64."""
    hidden_dim: Count = 64
    """Width of the hidden layers; by size: tiny 32, small 64, full 128."""
    epochs: Count = 4
    """Maximum number of epochs; by size: tiny 2, small 4, full 6."""
    patience: Count = 2
    """Patience of early stopping: epochs without a better validation metric."""
    sampling: SamplingConfig = SamplingConfig()
    """Batches, targets, dropout."""
    encoder: Annotated[EncoderConfig, KIND] | None = None
    """Sequence encoder of the behaviour sequence; null: a weighted sum."""
    loss: Annotated[LossConfig, KIND] | None = None
    """Loss; null: softmax over the batch's targets with log-Q correction. `mse` needs ratings."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Rule, learning rates, compute dtype, sharding."""
    checkpoint_every: Count = 200
    """Steps between checkpoints."""
    hyperparameters: str = ""
    """Result of tuning: hyperparameters.json as string, file or folder. Explicit options take precedence."""

    @property
    def learns_ratings(self) -> bool:
        """Whether to train on rated visits instead of target events."""
        return isinstance(self.loss, Mse)


class RetrieverTraining(RetrieverOptions):
    """Options with the defaults of a size, and the launch settings."""

    launch: LaunchConfig = LaunchConfig()
    """Launch settings of the workers."""

    @classmethod
    def from_size(cls, size: Size, seed: int = 0, launch: LaunchConfig | None = None) -> Self:
        """Return the defaults of a size."""
        return cls(
            sampling=SamplingConfig(batch_size=size.batch_size, seed=seed), embedding_dim=size.embedding_dim,
            hidden_dim=size.hidden_dim, epochs=size.retriever_epochs, optimizer=OptimizerConfig(seed=seed),
            launch=launch or LaunchConfig(),
        )  # fmt: skip

    def check(self) -> None:
        """Validate combinations of options.

        Raises:
            InputError: the processes cannot share a batch evenly.
        """
        check_shares(self.sampling.batch_size, self.launch.processes, "rows", self.launch.nodes)

    @property
    def digest_settings(self) -> dict:
        """Options that determine the result, as JSON values: all except `launch` and `hyperparameters`."""
        return self.model_dump(mode="json", exclude={"launch", "hyperparameters"})
