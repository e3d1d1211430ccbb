"""A ranker trained on labels shuffled among each shopper's candidates must perform at chance level."""

import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.evaluation.ranking_metrics import ndcg_at_k
from components.shared.features.rows import Rows
from components.shared.features.spec import FeatureSpec
from components.shared.recommender.offline import open_offline
from components.shared.schema.sizes import size_named
from components.shared.storage import read_json
from components.train_ranker.config import RankerTraining
from components.train_ranker.examples import PairRows, write_pairs
from components.train_ranker.train import train

SHUFFLES = 40


def shuffle(features, retriever, split, candidates):
    """Replace the targets of a split by random candidates, as many per shopper as were really bought."""
    random, recommender = np.random.default_rng(3), open_offline(features, retriever, None, candidates, split)
    path = features / "rows" / f"{split}.parquet"
    rows, table = Rows.read(path, recommender.spec), pq.read_table(path)
    found = recommender.candidates(
        recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)
    ).found
    drawn = []
    for row in range(len(rows)):
        offered = found.item[found.row == row]
        bought = np.isin(offered, rows.targets.take(np.array([row])).values).sum()
        drawn.append(random.choice(offered, bought, replace=False).tolist())
    at = table.schema.get_field_index("targets")
    path.unlink()  # The files of the copy are hard links to the original.
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(drawn, table.schema.field(at).type)), path)


@pytest.mark.slow
def test_ranker_trained_on_shuffled_labels_is_at_chance_level(tiny_run, tmp_path):
    config, features = RankerTraining.from_size(size_named("tiny"), 0), tmp_path / "features"
    shutil.copytree(tiny_run.features, features, copy_function=os.link)
    splits = [path.stem for path in (features / "rows").glob("ranker-*.parquet")]
    for split in (*splits, "validation"):
        shuffle(features, tiny_run.retriever, split, config.candidates)
    train(features, tiny_run.retriever, tmp_path / "ranker", config)
    write_pairs(features, tiny_run.retriever, "validation", tmp_path / "pairs.parquet", config.candidates)
    pairs = PairRows.read([tmp_path / "pairs.parquet"], FeatureSpec.read(features / "spec.json"))
    positives = np.bincount(pairs.row, pairs.label, len(pairs)).astype(np.int64)
    by_chance = np.array([ndcg(pairs, positives, seed) for seed in range(SHUFFLES)])
    found = [point["validation_ndcg_at_10"] for point in read_json(tmp_path / "ranker" / "curve.json")]
    # An uninformed ranking has the same error whatever its order.
    assert abs(np.mean(found) - by_chance.mean()) < 4 * by_chance.std(), (found, by_chance.mean(), by_chance.std())
    clean = read_json(tiny_run.ranker / "curve.json")
    assert max(point["validation_ndcg_at_10"] for point in clean) > by_chance.mean() + 6 * by_chance.std()


def ndcg(pairs, positives, seed):
    """Mean NDCG@10 of candidates in random order."""
    order = np.lexsort((np.random.default_rng(seed).random(len(pairs.row)), pairs.row))
    position = np.arange(len(order)) - pairs.offsets[:-1][pairs.row]
    found = np.zeros((len(pairs), 10), bool)
    found[pairs.row[position < 10], position[position < 10]] = pairs.label[order][position < 10] > 0
    return ndcg_at_k(found[positives > 0], positives[positives > 0], 10).mean()
