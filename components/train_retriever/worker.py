"""Worker process of the retriever's training; started by torchrun, never imported by KFP components.

A killed worker resumes from the last complete checkpoint and ends with the weights of an uninterrupted run.
"""

from typing import cast

import numpy as np
import torch

from components.shared.features.catalog import Catalog
from components.shared.features.ragged import Ragged
from components.shared.features.rows import Rows
from components.shared.features.spec import FeatureSpec
from components.shared.models.batch import keyed_jagged
from components.shared.models.retriever import SEQUENCE, Retriever, RetrieverConfig
from components.shared.training import checkpoint
from components.shared.training.compute_dtype import autocast
from components.shared.training.exchange import local_path
from components.shared.training.group import Group, local_copy
from components.shared.training.loop import Loop
from components.shared.training.pipelining import Losses, Steps, chosen, compile_dense
from components.shared.training.sharding import distribute
from components.shared.training.worker import loop_config, worker
from components.train_retriever.batches import Batch, draw_batch
from components.train_retriever.config import RetrieverOptions
from components.train_retriever.job import WorkerJob, metric, rows_files
from components.train_retriever.losses.config import Hard
from components.train_retriever.losses.hard_index import Hardest, ItemIndex
from components.train_retriever.losses.objectives import LocalBatch, Ratings, objective
from components.train_retriever.sources import row_source
from components.train_retriever.stepping import PipelinedRetriever, TowerBatch
from components.train_retriever.validation import mean_recall, rating_r2


class Training:
    """Training run in one process: data, sharded model and training state."""

    def __init__(self, job: WorkerJob, group: Group):
        self.job, self.group = job, group
        folder = local_copy(job.features, group)
        self.spec = FeatureSpec.read(folder / "spec.json")
        self.catalog = Catalog.read(folder / "items.parquet", self.spec)
        self.config = RetrieverOptions.read(job.training, "training")
        self.sampling, optimizer = self.config.sampling, self.config.optimizer
        self.part = group.share(self.sampling.batch_size)
        learned, validated = (folder / name for name in rows_files(self.config))
        self.source = row_source(learned, self.spec, self.sampling, self.part)
        self.validation = Rows.read(validated, self.spec)
        torch.manual_seed(optimizer.seed)
        shape = model_config(self.spec, self.config)
        self.model, self.optimizer = distribute(PipelinedRetriever(shape, torch.device("meta")), group, optimizer)
        towers = cast(Retriever, self.model.module)
        for tower in (towers.user_tower, towers.item_tower):
            compile_dense(tower, group.device, optimizer.compile)
        self.state = checkpoint.TrainState(self.model, self.optimizer)
        loss = self.config.loss
        self.objective = objective(loss, self.source, len(self.catalog), self.sampling, group)
        self.index: tuple[int, ItemIndex] | None = None
        """Step at which the index was built, and the item index for hard negatives."""
        # Hard negatives depend on the current weights, so their batches cannot be prepared ahead.
        overlap = chosen(optimizer.overlap, group.device) and not isinstance(getattr(loss, "source", None), Hard)
        self.steps: Steps[LocalBatch, TowerBatch] = Steps(self.model, self.optimizer, self, group.device, overlap)

    def steps_per_epoch(self) -> int:
        """Return the number of steps per epoch."""
        return self.source.steps_per_epoch

    def step(self, epoch: int, at: int) -> torch.Tensor:
        """Run one optimiser step and return this rank's share of the mean loss."""
        return self.steps.step(epoch, at)

    def read(self, epoch: int, at: int) -> LocalBatch:
        """See Batches."""
        rows = self.source.rows(epoch, at)
        batch = draw_batch(rows, self.catalog, self.sampling, (epoch, at), self.part)
        return LocalBatch(
            batch, rows.targets, (epoch, at), lambda source: self._hardest((epoch, at), batch, rows.targets, source)
        )

    def made(self, read: LocalBatch) -> TowerBatch:
        """See Batches."""
        batch, drawn = read.batch, self.objective.draw(read)
        scored_items = len(batch.item) + len(drawn.rows)
        known, where = self._history(batch, scored_items) if self.config.encoder else (np.zeros(0, np.int64), None)
        behind = np.concatenate([drawn.rows, known])
        wanted = self._with(batch.items, behind, np.flatnonzero(drawn.dropped)) if len(behind) else batch.items
        return TowerBatch(
            users=keyed_jagged(batch.features, self.spec.user_features),
            items=keyed_jagged(wanted, self.spec.item_features), scored_items=scored_items, where=where,
            content=self._content(np.concatenate([batch.item, behind])), loss=drawn.loss, tensors=drawn.tensors,
        )  # fmt: skip

    def losses(self, batch: TowerBatch) -> Losses:
        """See Batches."""
        with autocast(self.config.optimizer.compute_dtype, self.group.device):
            vectors = self.model(batch)
        loss = batch.of(vectors)
        return loss, loss.detach() / self.group.world

    def _with(self, items: dict[str, Ragged], behind: np.ndarray, dropped: np.ndarray) -> dict[str, Ragged]:
        """Append the features of catalog rows `behind` to the items; the rows at `dropped` get the unknown id."""
        more = {name: ragged.take(behind) for name, ragged in self.catalog.features.items()}
        more["item"].values[dropped] = 0
        return {name: Ragged.joined([ragged, more[name]]) for name, ragged in items.items()}

    def _history(self, batch: Batch, behind: int) -> tuple[np.ndarray, torch.Tensor]:
        """Return the sequences' distinct catalog rows, and each item's position if these are appended at `behind`."""
        known, at = np.unique(batch.features[SEQUENCE].values, return_inverse=True)
        return known, torch.from_numpy(behind + at)

    def _hardest(self, at: tuple[int, int], batch: Batch, known: Ragged, source: Hard) -> Hardest:
        """See LocalBatch. Checkpoints also rebuild the index, so that a resumed run ranks like an uninterrupted one."""
        step, model = at[0] * self.steps_per_epoch() + at[1], cast(Retriever, self.model.module.eval())
        made = step - min(at[1] % source.refresh, step % self.config.checkpoint_every)
        with torch.no_grad():
            if self.index is None or self.index[0] != made:
                self.index = made, ItemIndex(*self._item_vectors(model))
            users = keyed_jagged(batch.features, self.spec.user_features).to(self.group.device)
            best = self.index[1].hardest(model.user_vectors(users, self.index[1].vectors), known, source.pool)
        model.train()
        return best

    def _content(self, rows: np.ndarray) -> torch.Tensor | None:
        """Return the item tower's content input of catalog rows; None if the shop has no content vectors."""
        content = self.catalog.content
        return torch.from_numpy(content.inputs(rows)) if content is not None else None

    def _item_vectors(self, model: Retriever, part: int = 4_096) -> tuple[torch.Tensor, torch.Tensor]:
        """Return vectors [I, D] and biases [I] of the whole catalog; must run on every rank: lookups are collective."""
        vectors, biases = [], []
        for start in range(0, len(self.catalog), part):
            rows = np.arange(start, min(start + part, len(self.catalog)))
            items = {name: ragged.take(rows) for name, ragged in self.catalog.features.items()}
            keyed = keyed_jagged(items, self.spec.item_features).to(self.group.device)
            content = self._content(rows)
            vector, bias = model.item_vectors(keyed, None if content is None else content.to(self.group.device))
            vectors.append(vector)
            biases.append(bias)
        return torch.cat(vectors), torch.cat(biases)

    @torch.no_grad()
    def validate(self) -> float:
        """Return recall@20 over the whole catalog, or the R² of the ratings if ratings are learned."""
        self.steps.pause()
        model = cast(Retriever, self.model.module.eval())
        item_vectors, item_biases = self._item_vectors(model)

        def score(rows: Rows) -> torch.Tensor:
            keyed = keyed_jagged(rows.features, self.spec.user_features).to(self.group.device)
            return model.user_vectors(keyed, item_vectors) @ item_vectors.T + item_biases

        if isinstance(self.objective, Ratings):
            found = rating_r2(self.validation, score, len(self.catalog), self.objective.mean)
        else:
            found = mean_recall(self.validation, score, len(self.catalog))
        model.train()
        return found


def model_config(spec: FeatureSpec, config: RetrieverOptions) -> RetrieverConfig:
    """Return the shape of the two towers."""
    return RetrieverConfig.from_spec(spec, config.embedding_dim, config.hidden_dim, config.encoder)


def main() -> None:
    """Entry point for torchrun."""
    with worker(WorkerJob) as (job, group, folder):
        config = RetrieverOptions.read(job.training, "training")
        Loop(loop_config(config, "train_retriever", metric(config)), Training(job, group), group, folder).run()
    if group.rank == 0:
        shape = model_config(FeatureSpec.read(local_path(job.features) / "spec.json"), config)
        with folder.upload_on_exit() as out:
            shape.write(out / "config.json")
            checkpoint.export_weights(Retriever(shape, torch.device("cpu")), folder, out, config.optimizer.seed)


if __name__ == "__main__":
    main()
