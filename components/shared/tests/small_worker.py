"""A minimal worker for test_sharding.py and test_kills.py: streamed rows, two tables, the real training loop.

Every step that it starts is recorded in a ledger (attempt, rank, process, step, checksum of the rows; step 0 is the
start of the worker), so that a test can tell how far a killed worker got.
"""

import argparse
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedTensor

from components.shared.features.ragged import Ragged
from components.shared.features.spec import SparseFeature
from components.shared.models.batch import keyed_jagged
from components.shared.storage import read_json, write_json
from components.shared.training import checkpoint
from components.shared.training.group import Group, process_group, quiet_third_parties
from components.shared.training.loop import Loop, LoopConfig
from components.shared.training.optimizer import OptimizerConfig
from components.shared.training.sharding import distribute
from components.shared.training.stream import ParquetStream, StreamConfig

FEATURES = (SparseFeature(name="short", rows=50, max_length=1), SparseFeature(name="long", rows=301, max_length=5))
BATCH = 32


@dataclass(frozen=True, kw_only=True)
class SmallJob:
    """Settings of the worker."""

    folder: str
    """Output folder, with a subfolder for each sharding type."""
    rows: str
    """Parquet file with the features and a label."""
    sharding: tuple[str, ...]
    """Sharding types to train with, one after the other."""
    epochs: int
    """Passes over the rows."""
    checkpoint_every: int
    """Steps between checkpoints."""


class Small(nn.Module):
    """Pooled embeddings under one linear layer."""

    def __init__(self, device: torch.device):
        super().__init__()
        self.bags = EmbeddingBagCollection(device=device, is_weighted=True, tables=[
            EmbeddingBagConfig(name=one.name, embedding_dim=8, num_embeddings=one.rows, feature_names=[one.name])
            for one in FEATURES
        ])  # fmt: skip
        self.top = nn.Linear(16, 1)

    def forward(self, ids) -> torch.Tensor:
        (pooled,) = KeyedTensor.regroup([self.bags(ids)], [[one.name for one in FEATURES]])
        return self.top(pooled)[:, 0]


class Training:
    """Logistic regression on the label; the validation metric is minus the loss of the epoch's first batch."""

    def __init__(self, job: SmallJob, sharding: str, group: Group):
        part, columns = group.share(BATCH), [*(one.name for one in FEATURES), "label"]
        self.stream = ParquetStream(Path(job.rows), columns, StreamConfig(batch_size=BATCH, shards=4, window=2), part)
        self.group, self.ledger = group, Path(job.folder) / sharding / "ledger"
        torch.manual_seed(3)
        config = OptimizerConfig(embedding_lr=0.1, dense_lr=0.01, sharding=(sharding,), seed=3)
        self.model, self.optimizer = distribute(Small(torch.device("meta")), group, config)
        self.state = checkpoint.TrainState(self.model, self.optimizer)
        self._record(0, 0)

    def layout(self) -> dict[str, list]:
        """Return table -> [sharding type chosen by the planner, [rows, columns] of every shard]."""
        found = {}
        for table, plan in self.model.plan.plan["bags"].items():
            shards = plan.sharding_spec.shards if plan.sharding_spec else []
            found[table] = [plan.sharding_type, sorted(shard.shard_sizes for shard in shards)]
        return found

    def steps_per_epoch(self) -> int:
        return self.stream.steps_per_epoch

    def step(self, epoch: int, at: int) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss = self._loss(epoch, at, record=True)
        loss.backward()
        self.optimizer.step()
        return loss / self.group.world

    @torch.no_grad()
    def validate(self) -> float:
        loss = self._loss(0, 0) / self.group.world
        torch.distributed.all_reduce(loss)
        return -loss.item()

    def _loss(self, epoch: int, at: int, record: bool = False) -> torch.Tensor:
        table = self.stream.batch(epoch, at)
        ragged = {one.name: Ragged.from_arrow(table.column(one.name).chunk(0)) for one in FEATURES}
        label = torch.from_numpy(table.column("label").to_numpy().copy()).float()
        if record:
            checksum = zlib.crc32(b"".join(ragged[one.name].values.tobytes() for one in FEATURES))
            self._record(epoch * self.steps_per_epoch() + at + 1, checksum)
        return nn.functional.binary_cross_entropy_with_logits(self.model(keyed_jagged(ragged, FEATURES)), label)

    def _record(self, step: int, checksum: int) -> None:
        attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
        with self.ledger.open("a") as ledger:
            ledger.write(f"{attempt} {self.group.rank} {os.getpid()} {step} {checksum}\n")


def main() -> None:
    """Entry point of torchrun."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", required=True)
    job = SmallJob(**read_json(Path(parser.parse_args().job)))
    quiet_third_parties()
    with process_group() as group:
        for sharding in job.sharding:
            folder = Path(job.folder) / sharding
            folder.mkdir(exist_ok=True)
            loop = LoopConfig(stage="small", metric="quality", epochs=job.epochs, patience=job.epochs,
                              checkpoint_every=job.checkpoint_every)  # fmt: skip
            training = Training(job, sharding, group)
            if group.rank == 0:
                write_json(folder / "layout.json", training.layout())
            Loop(loop, training, group, folder).run()
    if group.rank == 0:
        for sharding in job.sharding:
            folder = Path(job.folder) / sharding
            checkpoint.export_weights(Small(torch.device("cpu")), folder, folder)


if __name__ == "__main__":
    main()
