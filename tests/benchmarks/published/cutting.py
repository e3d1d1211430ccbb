"""`python -m tests.benchmarks.published.cutting`: convert a shop's events to a layout of the benchmark.

Reads tables of the data contract, such as the output of ingest_events. Each item of a shopper counts once, at its first
event; shoppers and items with too few of each other are removed until all have enough (k-core).
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.cgroup import usable_cpus
from components.shared.errors import DataError, InputError, ShoprankError
from components.shared.schema.tables import EVENT_TYPES
from components.shared.storage import atomic_directory
from components.shared.text.tokenizer import tokenize
from pipelines.cli.console import show_error

LAYOUTS = ("leave_one_out", "sets")
_SHORTEST = 3
"""Items per shopper that leave_one_out needs: one each for training, validation and test."""


@dataclass(frozen=True, kw_only=True)
class CuttingConfig:
    """Settings of the conversion of events to a data set."""

    layout: str
    """leave_one_out: the last item is the test, the one before the validation; sets: a random share is the test."""
    event: str = "purchase"
    """Event type that counts."""
    least: int = 5
    """Minimum number of items per shopper, and of shoppers per item."""
    share: float = 0.2
    """Average share of each shopper's items in the test part of sets."""
    seed: int = 0
    """Seed of that draw."""

    def __post_init__(self) -> None:
        for name, known in (("layout", LAYOUTS), ("event", EVENT_TYPES)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is '{getattr(self, name)}'", f"use one of: {', '.join(known)}")
        least = _SHORTEST if self.layout == "leave_one_out" else 1
        if self.least < least:
            raise InputError(f"least is {self.least}", f"give at least {least}: {self.layout} needs them")
        if not 0 < self.share < 1:
            raise InputError(f"share is {self.share}", "give a share between 0 and 1")


def cut(events: Path, items: Path, out: Path, config: CuttingConfig) -> dict[str, int]:
    """Write the files of a layout (see layouts.py).

    Args:
        events: Folder of Parquet files with user_id, item_id, event_type and timestamp.
        items: The same with item_id and title, whose words describe the items in leave_one_out.
        out: Folder to write; must not exist.
        config: Settings.

    Returns:
        Counts of shoppers, items and interactions.

    Raises:
        InputError: a folder has no Parquet files, or `out` exists.
        DataError: too few shoppers and items have enough of each other.
    """
    if out.exists():
        raise InputError(f"--out {out} exists", "name a new folder, or remove it first")
    for name, folder in (("events", events), ("items", items)):
        if not any(folder.rglob("*.parquet")):
            raise InputError(f"--{name} {folder} holds no Parquet files", f"give the folder of {name} of ingest_events")
    user, item = k_core(*_first_events(events, config.event), config.least)
    if not len(user):
        raise DataError(
            f"{events} has no shoppers and items with {config.least} of each other by '{config.event}' events",
            "give a smaller least, another event, or more events",
        )
    (user_id, user), (item_id, item) = (np.unique(column, return_inverse=True) for column in (user, item))
    rows = {"user_id": user + 1, "item_id": item + 1}
    with atomic_directory(out) as folder:
        if config.layout == "sets":
            _write_sets(folder, rows, config)
        else:
            _write_sequences(folder, rows)
            _write_attributes(folder, items, item_id)
    return {"shoppers": len(user_id), "items": len(item_id), "interactions": len(user)}


def _first_events(events: Path, event: str) -> tuple[np.ndarray, np.ndarray]:
    """Return ids of shopper and item, one row per pair, ordered by shopper and time of the first event."""
    with duckdb.connect(config={"threads": usable_cpus()}) as database:
        found = database.execute(
            "SELECT user_id, item_id FROM read_parquet(?, hive_partitioning = false) WHERE event_type = ? "
            "AND item_id IS NOT NULL AND user_id IS NOT NULL GROUP BY user_id, item_id "
            "ORDER BY user_id, min(timestamp), item_id",
            [str(events / "**/*.parquet"), event],
        ).fetchnumpy()
    return np.asarray(found["user_id"]).astype(str), np.asarray(found["item_id"]).astype(str)


def k_core(user: np.ndarray, item: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest set of pairs in which each shopper and each item has at least `least` pairs."""
    while len(user):
        enough = np.ones(len(user), bool)
        for column in (user, item):
            _, code, count = np.unique(column, return_inverse=True, return_counts=True)
            enough &= count[code] >= least
        if enough.all():
            break
        user, item = user[enough], item[enough]
    return user, item


def _write_sequences(folder: Path, rows: dict[str, np.ndarray]) -> None:
    counts = np.bincount(rows["user_id"])
    ends = np.cumsum(counts)
    position = np.arange(len(rows["user_id"])) - (ends - counts)[rows["user_id"]]
    left = counts[rows["user_id"]] - 1 - position
    split = np.array(["test", "valid", "train"])[np.minimum(left, 2)]
    pq.write_table(pa.table({**rows, "position": position, "split": split}), folder / "interactions.parquet")


def _write_attributes(folder: Path, items: Path, item_id: np.ndarray) -> None:
    """Write title words as numbers from 1; items without a title have none; without any title, write no file."""
    with duckdb.connect(config={"threads": usable_cpus()}) as database:
        found = database.execute(
            "SELECT item_id, any_value(title) FROM read_parquet(?) GROUP BY item_id", [str(items / "**/*.parquet")]
        ).fetchall()
    titles = dict(found)
    words = [sorted(set(tokenize(titles.get(name) or ""))) for name in item_id.tolist()]
    if not any(words):
        return
    number = {word: at for at, word in enumerate(sorted({word for own in words for word in own}), 1)}
    lists = pa.array([[number[word] for word in own] for own in words], pa.list_(pa.int32()))
    described = pa.table({"item_id": np.arange(1, len(item_id) + 1), "attribute_ids": lists})
    pq.write_table(described, folder / "item_attributes.parquet")


def _write_sets(folder: Path, rows: dict[str, np.ndarray], config: CuttingConfig) -> None:
    test = np.random.default_rng(config.seed).random(len(rows["user_id"])) < config.share
    # Shoppers and items that are not in the training part cannot be predicted.
    known = [np.isin(column, column[~test]) for column in rows.values()]
    for name, chosen in (("train", ~test), ("test", test & known[0] & known[1])):
        part = {column: values[chosen] for column, values in rows.items()}
        pq.write_table(pa.table(part), folder / f"{name}.parquet")


def main(words: list[str]) -> None:
    """Convert the events of one shop.

    Raises:
        InputError: a flag has an invalid value.
        DataError: see cut.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.published.cutting", description=__doc__)
    parser.add_argument("--events", type=Path, required=True, help="folder of events, as ingest_events writes it")
    parser.add_argument("--items", type=Path, required=True, help="folder of items, likewise")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; then --data of the benchmark")
    parser.add_argument("--layout", required=True, help=f"one of: {', '.join(LAYOUTS)}")
    parser.add_argument("--event", default="purchase", help="which events count")
    parser.add_argument("--least", type=int, default=5, help="items a shopper and shoppers an item must have")
    parser.add_argument("--share", type=float, default=0.2, help="of each shopper's items that are the test of sets")
    parser.add_argument("--seed", type=int, default=0, help="of that draw")
    given = vars(parser.parse_args(words))
    events, items, out = (given.pop(name) for name in ("events", "items", "out"))
    found = cut(events, items, out, CuttingConfig(**given))
    print(f"{out}: " + ", ".join(f"{count:,} {name}" for name, count in found.items()))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ShoprankError as error:
        show_error(error)
        raise SystemExit(1) from None
