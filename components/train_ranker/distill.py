"""Distillation: training pairs with soft labels, mixed from observed labels and the predictions of a larger ranker.

Source: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network (2015). Cross-entropy is linear in its
target, so the loss on a mixed label is the weighted sum of the two losses, and training needs no second loss.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.features.catalog import Catalog
from components.shared.features.spec import FeatureSpec
from components.shared.progress import report
from components.shared.recommender.offline import TorchModels, load_ranker, load_retriever
from components.shared.recommender.recommender import concatenated, target_probability
from components.shared.storage import atomic_directory
from components.shared.training.stream import in_order
from components.train_ranker.examples import GROUP_SHOPPERS, SHOPPERS, PairRows
from components.train_ranker.job import SOFT_VALIDATION, VALIDATION


def distil_pairs(features: Path, models: tuple[Path, Path], pairs: Path, out: Path, weight: float = 0.5) -> None:
    """Write a copy of the pairs in which the labels of all snapshots are mixed with the teacher's probability.

    Args:
        features: Output of build_features.
        models: Output of train_retriever, and the teacher: output of train_ranker.
        pairs: Output of train.write_all_pairs.
        out: Folder to write, for the argument `pairs` of `train`. Validation keeps the observed labels.
        weight: Weight of the teacher's probability in a label, above 0 and at most 1; the rest is the observed label.
    """
    spec = FeatureSpec.read(features / "spec.json")
    catalog = Catalog.read(features / "items.parquet", spec)
    teacher = TorchModels(load_retriever(models[0]), load_ranker(models[1]))
    with atomic_directory(out) as folder:
        for path in sorted(pairs.glob("*.parquet")):
            if path.name == VALIDATION:
                shutil.copyfile(path, folder / path.name)
            soft = SOFT_VALIDATION if path.name == VALIDATION else path.name
            _soften(path, folder / soft, spec, lambda rows: (1 - weight) * rows.label
                    + weight * probabilities(teacher, rows, catalog, spec))  # fmt: skip


def _soften(path: Path, out: Path, spec: FeatureSpec, mixed: Callable[[PairRows], np.ndarray]) -> None:
    """Copy a pairs file with the labels returned by `mixed`, float32 [pairs], `SHOPPERS` at a time."""
    schema, total = pq.read_schema(path), 0
    at = schema.get_field_index("label")
    schema = schema.set(at, pa.field("label", pa.list_(pa.float32())))
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for table in in_order(path, SHOPPERS):
            rows = PairRows.from_table(table, spec)
            label = pa.ListArray.from_arrays(pa.array(rows.offsets.astype(np.int32)), pa.array(mixed(rows)))
            writer.write_table(table.set_column(at, schema.field(at), label), row_group_size=GROUP_SHOPPERS)
            total += len(rows.label)
            report("train_ranker", 0.0, f"{path.stem}: {total:,} labels softened")


def probabilities(models: TorchModels, pairs: PairRows, catalog: Catalog, spec: FeatureSpec) -> np.ndarray:
    """Return the probability of each pair's task ('again' for items bought before, else 'first'), float32 [pairs]."""
    widths = [(feature.name, feature.max_length) for feature in spec.user_features]
    item_widths = [(feature.name, feature.max_length) for feature in spec.item_features]
    parts = []
    for start in range(0, len(pairs), SHOPPERS):
        part = pairs.take(np.arange(start, min(start + SHOPPERS, len(pairs))))
        user = concatenated(part.features, widths)
        item = concatenated({name: rows.take(part.item) for name, rows in catalog.features.items()}, item_widths)
        tasks = models.task_probabilities(user, item, part.row, part.dense.copy())
        parts.append(target_probability(tasks, part.dense))
    return np.concatenate(parts).astype(np.float32)
