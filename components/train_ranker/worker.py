"""Worker process of the ranker's training; started by torchrun."""

import dataclasses
import functools
import gc
from typing import cast

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from components.shared.evaluation.ranking_metrics import ndcg_at_k
from components.shared.features.catalog import Catalog
from components.shared.features.columns import DenseInput, Task
from components.shared.features.spec import FeatureSpec
from components.shared.models.examination import click_loss
from components.shared.models.ranker import Ranker, RankerConfig
from components.shared.training import checkpoint
from components.shared.training.compute_dtype import autocast
from components.shared.training.curve import REFIT
from components.shared.training.exchange import SharedFolder, local_path
from components.shared.training.group import Group, local_copy
from components.shared.training.loop import Loop
from components.shared.training.pipelining import Losses, Steps, chosen, compile_dense
from components.shared.training.sharding import distribute
from components.shared.training.worker import loop_config, worker
from components.train_ranker.config import RankerOptions
from components.train_ranker.examples import PairRows
from components.train_ranker.job import CONFIG, METRIC, WorkerJob
from components.train_ranker.losses import listwise_loss
from components.train_ranker.sources import BatchConfig, ValidationPairs, pair_source
from components.train_ranker.stepping import PairBatch, PipelinedRanker


class Training:
    """Training run in one process."""

    def __init__(self, job: WorkerJob, group: Group):
        self.job, self.group = job, group
        features, pairs = local_copy(job.features, group), local_copy(job.pairs, group)
        self.spec = FeatureSpec.read(features / "spec.json")
        self.catalog = Catalog.read(features / "items.parquet", self.spec)
        self.options = RankerOptions.read(job.options, "options")
        optimizer, self.seed = self.options.optimizer, self.options.optimizer.seed
        batches = BatchConfig(
            shoppers=self.options.batch_shoppers, held_pairs=self.options.held_pairs, seed=self.seed
        )  # fmt: skip
        self.pairs, files = pairs, [pairs / name for name in job.training]
        self.source = pair_source(files, self.spec, batches, group.share(self.options.batch_shoppers))
        torch.manual_seed(self.seed)
        self.config = RankerConfig.read(pairs / CONFIG)
        self.model, self.optimizer = distribute(PipelinedRanker(self.config, torch.device("meta")), group, optimizer)
        compile_dense(cast(PipelinedRanker, self.model.module).head, group.device, optimizer.compile)
        self.state = checkpoint.TrainState(self.model, self.optimizer)
        overlap = chosen(optimizer.overlap, group.device)
        self.steps: Steps[PairBatch, PairBatch] = Steps(self.model, self.optimizer, self, group.device, overlap)

    @functools.cached_property
    def validation(self) -> ValidationPairs:
        """Validation pairs, read on first access; a refit never accesses them."""
        return ValidationPairs(self.pairs / self.job.validation, self.spec, self.options.held_pairs)

    def steps_per_epoch(self) -> int:
        """Return the number of whole batches of shoppers per epoch."""
        return self.source.steps_per_epoch

    def step(self, epoch: int, at: int) -> torch.Tensor:
        """Run one optimiser step and return this rank's share of the global batch's loss."""
        return self.steps.step(epoch, at)

    def read(self, epoch: int, at: int) -> PairBatch:
        """See Batches."""
        batch, pairs = self.source.batch, self.source.pairs(epoch, at)
        dropped = np.random.default_rng([self.seed, 1 + epoch, at]).random(batch) < self.options.id_dropout
        return PairBatch.of(pairs, self.catalog, self.config, dropped[self.group.share(batch)])

    def made(self, read: PairBatch) -> PairBatch:
        """See Batches."""
        return read

    def losses(self, batch: PairBatch) -> Losses:
        """See Batches."""
        with autocast(self.options.optimizer.compute_dtype, self.group.device):
            logits, examined = _logits(self.model, batch)
        loss = self._loss(logits.float(), examined.float(), batch)
        # DDP and TorchRec average gradients over ranks, so each rank's share is multiplied by the number of ranks.
        return loss * self.group.world, loss.detach()

    def _loss(self, logits: torch.Tensor, examined: torch.Tensor, batch: PairBatch) -> torch.Tensor:
        """Return this rank's share of the global loss: mean over all pairs plus weighted mean over shoppers' lists."""
        label, log_wanted = batch.label, logsigmoid(logits)
        count = torch.tensor(float(len(label)), device=self.group.device)
        dist.all_reduce(count)
        if self.config.architecture.positions:
            log_wanted = log_wanted + examined
            each = click_loss(logits, examined, label)
        else:
            each = binary_cross_entropy_with_logits(logits, label, reduction="sum")
        lists = listwise_loss(log_wanted, label, batch.row, batch.shoppers)
        return each / count + self.options.listwise * lists / self.source.batch

    def _scored(self, pairs: PairRows) -> np.ndarray:
        """Return the logit of each pair's own task, float32 [pairs]."""
        batch = PairBatch.of(pairs, self.catalog, self.config).to(self.group.device)
        return _logits(self.model.module, batch)[0].float().cpu().numpy()

    @torch.no_grad()
    def validate(self) -> float:
        """Return the mean NDCG@10 over validation shoppers with a wanted candidate; 0 if there are none."""
        self.steps.pause()
        self.model.eval()
        tops = [_top_10(self._scored(part), part) for part in self.validation]
        self.model.train()
        found = np.concatenate([np.zeros((0, 10), bool), *(found for found, _ in tops)])
        wanted = np.concatenate([np.zeros(0, np.int64), *(wanted for _, wanted in tops)])
        gained = ndcg_at_k(found, np.maximum(wanted, 1), 10)[wanted > 0]
        return float(gained.mean()) if len(gained) else 0.0


def _logits(model: nn.Module, batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logit of each pair's own task and log P(examined), [pairs] each.

    The task is 'again' for items bought before, else 'first'. log P(examined) is only valid if positions are learned.
    """
    both = model(batch)
    again = batch.dense[:, DenseInput.BOUGHT_BEFORE] > 0
    return torch.where(again, both[:, Task.AGAIN], both[:, Task.FIRST]), both[:, -1]


def _top_10(scores: np.ndarray, pairs: PairRows) -> tuple[np.ndarray, np.ndarray]:
    """Return which of each shopper's top ten are wanted, bool [shoppers, 10], and how many of all, int64 [shoppers]."""
    wanted = np.bincount(pairs.row, pairs.label, len(pairs)).astype(np.int64)
    order = np.lexsort((-scores, pairs.row))
    position = np.arange(len(order)) - pairs.offsets[:-1][pairs.row]
    top = position < 10
    found = np.zeros((len(pairs), 10), bool)
    found[pairs.row[top], position[top]] = pairs.label[order][top] > 0
    return found, wanted


def fit(job: WorkerJob, group: Group, folder: SharedFolder) -> SharedFolder:
    """Train and select the best epoch by validation; with `refit`, train again for as many epochs on all windows.

    Returns:
        Folder of the run whose best weights are final.
    """
    loop = loop_config(RankerOptions.read(job.options, "options"), "train_ranker", METRIC)
    epochs = Loop(loop, Training(job, group), group, folder).run()
    if not job.refit:
        return folder
    gc.collect()  # break the reference cycles of the first training, or its pairs and tables would stay in memory
    everything = dataclasses.replace(job, training=[*job.training, job.refit])
    last = dataclasses.replace(loop, stop_after=epochs)
    Loop(last, Training(everything, group), group, folder / "refit").run()
    return folder / "refit"


def main() -> None:
    """Entry point for torchrun."""
    with worker(WorkerJob) as (job, group, folder):
        final = fit(job, group, folder)
    if group.rank == 0:
        ranker = Ranker(RankerConfig.read(local_path(job.pairs) / CONFIG), torch.device("cpu"))
        folder.write_json(REFIT, final.read_json("curve.json") if job.refit else [])
        with folder.upload_on_exit() as out:
            seed = RankerOptions.read(job.options, "options").optimizer.seed
            checkpoint.export_weights(ranker, final, out, seed)


if __name__ == "__main__":
    main()
