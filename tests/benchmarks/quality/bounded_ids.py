"""Which items get one of a limited number of embedding rows: plain or decayed counts, TorchRec's managed collision.

`python -m tests.benchmarks.quality.bounded_ids --data FOLDER` assigns rows to a share of each
shop's items by the events before the retriever's end, and counts the later events whose item has a row.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torchrec import JaggedTensor
from torchrec.modules.mc_modules import (
    DistanceLFU_EvictionPolicy,
    LFU_EvictionPolicy,
    MCHEvictionPolicy,
    MCHManagedCollisionModule,
)

from components.build_features.config import VocabularyConfig
from components.shared.features.id_hashing import hashed_rows
from components.shared.schema.timeline import Timeline
from tests.benchmarks.quality.shops import Shop, shops
from tests.benchmarks.tables import provenance, write_table

_DAY = 86_400.0
_IDS = 2**62
"""Range of the ids for managed collision: hashes, so large that collisions are negligible."""
_BATCH = 4_096


def counted(item: np.ndarray, age_days: np.ndarray, rows: int, half_life_days: float | None) -> np.ndarray:
    """Return whether each item gets one of `rows` rows by its counts, decayed or not; bool [largest item + 1]."""
    weights = np.ones(len(item)) if half_life_days is None else np.exp2(-age_days / half_life_days)
    best = np.argsort(-np.bincount(item, weights), kind="stable")[:rows]
    return np.isin(np.arange(item.max() + 1), best)


def managed(item: np.ndarray, ids: np.ndarray, rows: int, policy: MCHEvictionPolicy) -> tuple[np.ndarray, float]:
    """As `counted`, by a managed collision module that reads the events in batches; also its median ms per batch.

    Args:
        item: int64 [events], in order of time.
        ids: int64 [items], the id of each item.
        rows: Rows for one item each; another row is shared by all other items.
        policy: Eviction policy.
    """
    module = MCHManagedCollisionModule(
        zch_size=rows + 1,
        device=torch.device("cpu"),
        eviction_policy=policy,
        eviction_interval=10,
        input_hash_size=_IDS,
    )
    took = []
    for start in range(0, len(item), _BATCH):
        batch = {"item": _jagged(ids[item[start : start + _BATCH]])}
        before = time.perf_counter()
        batch = module.preprocess(batch)
        module.profile(batch)
        module.remap(batch)
        took.append(1e3 * (time.perf_counter() - before))
    row = module.eval().remap(module.preprocess({"item": _jagged(ids)}))["item"].values().numpy()
    return row != rows, float(np.median(took))


def _jagged(ids: np.ndarray) -> JaggedTensor:
    return JaggedTensor(torch.from_numpy(ids), lengths=torch.ones(len(ids), dtype=torch.int64))


def measured(shop: Shop, root: Path, shares: list[float]) -> list[str]:
    """Return the lines of the table for one shop."""
    end = Timeline.read(shop.features(root, "full") / "timeline.json").retriever_end
    events = pq.read_table(root / "events", columns=["item_id", "timestamp"]).drop_null().sort_by("timestamp")
    found = events["item_id"].combine_chunks().dictionary_encode()
    item, names = found.indices.to_numpy().astype(np.int64), found.dictionary.to_pylist()
    age = (end - events["timestamp"].cast("int64").to_numpy() / 1e6) / _DAY
    early, ids = age > 0, hashed_rows(names, _IDS)
    known = np.arange(item[early].max() + 1)
    lines = []
    for rows in (int(share * len(known)) for share in shares):
        ways = {
            "plain counts": (counted(item[early], age[early], rows, None), None),
            f"counts of half-life {(days := VocabularyConfig().row_half_life_days):g} days (`item_rows`)": (
                counted(item[early], age[early], rows, days), None),
            "managed collision, LFU": managed(item[early], ids[known], rows, LFU_EvictionPolicy()),
            "managed collision, distance LFU": managed(item[early], ids[known], rows, DistanceLFU_EvictionPolicy()),
        }  # fmt: skip
        for way, (has, ms) in ways.items():
            covered = np.append(has, np.zeros(len(names) - len(has), bool))[item[~early]].mean()
            lines.append(f"| {shop.name} | {rows:,} of {len(known):,} | {way} | {covered:.1%} | "
                         f"{'' if ms is None else f'{ms:.2f} ms'} |")  # fmt: skip
    return lines


def main() -> None:
    """Measure every shop and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("out/quality"), help="as tests.benchmarks.quality's: features are kept"
    )
    parser.add_argument("--data", type=Path, help="holds online_retail_ii/online_retail_ii.parquet; else one shop")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.2, 0.5], help="of the items that have a row")
    parser.add_argument("--results", type=Path, default=Path("tests/benchmarks/quality/results"))
    arguments = parser.parse_args()
    lines = ["| shop | rows | by | later events whose item has one | a batch of 4,096 |", "|---|---|---|---|---|"]
    for shop in shops(arguments.data):
        lines += measured(shop, arguments.out.resolve() / shop.folder, arguments.shares)
    command = f"python -m tests.benchmarks.quality.bounded_ids{' --data ../shared/data' if arguments.data else ''}"
    text = "\n".join([*lines, "", provenance(command)])
    write_table(arguments.results, "bounded-ids", text)
    print(text)


if __name__ == "__main__":
    main()
