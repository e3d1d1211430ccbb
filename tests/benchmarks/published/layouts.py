"""Public layouts of interactions, recognised by their schema: histories, the items that followed, excluded items.

interactions.parquet  user_id, item_id, position, split    leave-one-out; item_attributes.parquet may describe items
train_sessions.parquet + test.parquet (prefix, target)     sessions in time order
train.parquet + test.parquet  user_id, item_id             sets of items without an order
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.errors import DataError, SchemaError
from components.shared.evaluation import ranking_metrics as metrics
from components.shared.features.ragged import Ragged, expand_ranges, offsets_of
from tests.benchmarks.published.item_tower import ItemFeatures


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Training histories and the queries to evaluate."""

    train: Ragged
    """Training histories of catalog rows, oldest first."""
    queries: Ragged
    """Histories to predict from."""
    relevant: Ragged
    """Items that followed each query."""


Metrics = dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]
"""Name -> value of each query, from hits [queries, k] and counts of relevant items [queries]."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A data set of one of the layouts."""

    kind: str
    """leave_one_out, sessions or sets."""
    items: int
    """Catalog rows; row 0 is not an item."""
    features: ItemFeatures
    """Features of the items."""
    bags: tuple[tuple[str, int], ...]
    """Names and rows of the bags in `features`."""
    validation: Problem
    """Problem for choosing hyperparameters and epochs."""
    test: Problem
    """Problem that is evaluated once, at the end."""
    refit: bool
    """Whether the published protocol also trains on the validation part before the test."""
    ordered: bool
    """Whether a history's items have an order."""
    dated: bool
    """Whether the training histories are in order of time, followed by the test."""
    exclude_seen: bool
    """Whether the published protocol excludes a query's own items from its list."""
    metrics: Metrics
    """The layout's two metrics."""
    k: int
    """Length of the lists."""
    protocol: str
    """Description of the protocol for the report."""
    counts: tuple[int, int, int]
    """Training interactions, test queries, items; published figures are for the data set with the same counts."""


def read_layout(folder: Path) -> Layout:
    """Recognise and read a data set.

    Raises:
        SchemaError: no layout has these files and columns.
        DataError: a part of the data set is empty or unknown.
    """
    columns = {
        path.name: set(pq.read_schema(path).names)
        for path in (folder.glob("*.parquet") if folder.is_dir() else ())
    }  # fmt: skip

    def has(file: str, *names: str) -> bool:
        return set(names) <= columns.get(file, set())

    if has("interactions.parquet", "user_id", "item_id", "position", "split"):
        attributes = has("item_attributes.parquet", "item_id", "attribute_ids")
        return _leave_one_out(folder, attributes)
    if has("train_sessions.parquet", "items") and has("test.parquet", "prefix", "target"):
        return _sessions(folder)
    if has("train.parquet", "user_id", "item_id") and has("test.parquet", "user_id", "item_id"):
        return _sets(folder)
    raise SchemaError(
        f"--data {folder} has none of the known layouts",
        "give interactions.parquet (user_id, item_id, position, split), or train_sessions.parquet (items) with "
        "test.parquet (prefix, target), or train.parquet and test.parquet (user_id, item_id)",
    )


def _grouped(user: np.ndarray, item: np.ndarray, users: int) -> Ragged:
    """Group items by user; rows must be sorted by user."""
    return Ragged(offsets_of(np.bincount(user, minlength=users)), item, np.ones(len(item), np.float32))


def _once(user: np.ndarray, item: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct pairs in order of first occurrence: a set holds an item once."""
    _, first = np.unique(user * (item.max(initial=0) + 1) + item, return_index=True)
    kept = np.sort(first)
    return user[kept], item[kept]


def _asked(train: Ragged, queries: Ragged, relevant: Ragged, part: str) -> Problem:
    """Return the problem of the queries with relevant items."""
    rows = np.flatnonzero(relevant.lengths)
    if not len(rows) or not len(train.values):
        raise DataError(f"--data: nothing is left of the {'train' if len(rows) else part} part",
                        "give training and test interactions, and users of at least two training items")  # fmt: skip
    return Problem(train=train, queries=queries.take(rows), relevant=relevant.take(rows))


def _codes(*columns: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return columns of ids as rows from 1, and the sorted distinct ids."""
    known = np.unique(np.concatenate(columns))
    return [np.searchsorted(known, column).astype(np.int64) + 1 for column in columns], known


def _column(path: Path, name: str) -> np.ndarray:
    return pq.read_table(path, columns=[name]).column(name).to_numpy()


def _lists(path: Path, name: str) -> Ragged:
    column = pq.read_table(path, columns=[name]).column(name).combine_chunks()
    return Ragged.from_arrow(pa.ListArray.from_arrays(column.offsets, column.values))


def _leave_one_out(folder: Path, attributes: bool) -> Layout:
    path = folder / "interactions.parquet"
    user, position, split = (_column(path, name) for name in ("user_id", "position", "split"))
    order = np.lexsort((position, user))
    described = folder / "item_attributes.parquet"
    owners = _column(described, "item_id") if attributes else np.zeros(0, np.int64)
    (item, owners), known = _codes(_column(path, "item_id")[order], owners)
    (user,), users = _codes(user[order])
    user, split = user - 1, split[order].astype(str)
    names = ("train", "valid", "test")
    if unknown := set(split.tolist()) - set(names):
        raise DataError(f"column 'split' has the value '{min(unknown)}'", f"use {', '.join(names)}")
    parts = {name: _grouped(user[split == name], item[split == name], len(users)) for name in names}
    before = _grouped(user[split != "test"], item[split != "test"], len(users))
    features, bags = _attributes(described, owners, len(known) + 1) if attributes else (ItemFeatures(bags={}), ())
    return Layout(
        kind="leave_one_out", items=len(known) + 1, features=features, bags=bags,
        validation=_asked(parts["train"], parts["train"], parts["valid"], "valid"),
        test=_asked(parts["train"], before, parts["test"], "test"),
        refit=False, ordered=True, dated=False, exclude_seen=True, k=10,
        metrics={"HR@10": lambda found, _: metrics.hit_rate_at_k(found, 10),
                 "NDCG@10": lambda found, count: metrics.ndcg_at_k(found, count, 10)},
        protocol="leave-one-out: learned from the train part alone, last item = test, the one before = validation; "
                 "ranked over all items except those in the shopper's own history",
        counts=(len(item), int((split == "test").sum()), len(known)),
    )  # fmt: skip


def _attributes(path: Path, owners: np.ndarray, items: int) -> tuple[ItemFeatures, tuple[tuple[str, int], ...]]:
    lists = _lists(path, "attribute_ids")
    (codes,), known = _codes(lists.values)
    row = np.full(items, len(owners))
    row[owners] = np.arange(len(owners))
    # An additional empty row at the end, for items that are not in the file.
    whole = Ragged(np.r_[lists.offsets, lists.offsets[-1]], codes, lists.weights)
    return ItemFeatures(bags={"attributes": whole.take(row)}), (("attributes", len(known) + 1),)


def _prefixes(sessions: Ragged) -> tuple[Ragged, np.ndarray]:
    """Return every proper prefix of every session and the item that followed it."""
    steps = np.maximum(sessions.lengths - 1, 0)
    length = np.arange(steps.sum()) - np.repeat(offsets_of(steps)[:-1], steps) + 1
    start = np.repeat(sessions.offsets[:-1], steps)
    flat = expand_ranges(start, length)
    return Ragged(offsets_of(length), sessions.values[flat], sessions.weights[flat]), sessions.values[start + length]


def _sessions(folder: Path) -> Layout:
    raw, prefix = _lists(folder / "train_sessions.parquet", "items"), _lists(folder / "test.parquet", "prefix")
    (train, asked, target), known = _codes(raw.values, prefix.values, _column(folder / "test.parquet", "target"))
    sessions = Ragged(raw.offsets, train, np.ones(len(train), np.float32))
    pairs = np.cumsum(np.maximum(sessions.lengths - 1, 0)[::-1])
    held = min(int(np.searchsorted(pairs, len(target))) + 1, max(1, len(sessions) // 10))
    cut = len(sessions) - held
    queries, followed = _prefixes(sessions.take(np.arange(cut, len(sessions))))
    return Layout(
        kind="sessions", items=len(known) + 1, features=ItemFeatures(bags={}), bags=(),
        validation=Problem(train=sessions.take(np.arange(cut)), queries=queries, relevant=Ragged.ones(followed)),
        test=Problem(train=sessions, queries=Ragged(prefix.offsets, asked, np.ones(len(asked), np.float32)),
                     relevant=Ragged.ones(target)),
        refit=True, ordered=True, dated=True, exclude_seen=False, k=20,
        metrics={"P@20": lambda found, _: metrics.hit_rate_at_k(found, 20),
                 "MRR@20": lambda found, _: metrics.reciprocal_rank(found[:, :20])},
        protocol=f"the last {held} training sessions chose everything, then trained on all of them with what they "
                 "chose; every test prefix ranked over all items, items of the prefix included",
        counts=(len(train), len(target), len(known)),
    )  # fmt: skip


def _sets(folder: Path) -> Layout:
    train, test = folder / "train.parquet", folder / "test.parquet"
    (item, wanted), known = _codes(_column(train, "item_id"), _column(test, "item_id"))
    (user, asker), users = _codes(_column(train, "user_id"), _column(test, "user_id"))
    interactions = len(item)
    (user, item), (asker, wanted) = _once(user, item), _once(asker, wanted)
    # Training items are excluded from the lists, so they cannot be relevant.
    new = ~np.isin(asker * (len(known) + 1) + wanted, user * (len(known) + 1) + item)
    asker, wanted = asker[new], wanted[new]
    order, asked = np.argsort(user, kind="stable"), np.argsort(asker, kind="stable")
    whole = _grouped(user[order] - 1, item[order], len(users))
    relevant = _grouped(asker[asked] - 1, wanted[asked], len(users))
    # Each user's items in random order; the first tenth is held out, of users with at least two.
    random = np.random.default_rng(0)
    owner = np.repeat(np.arange(len(users)), whole.lengths)
    mixed = whole.values[np.lexsort((random.random(len(owner)), owner))]
    place = np.arange(len(owner)) - np.repeat(whole.offsets[:-1], whole.lengths)
    held = place < np.maximum(whole.lengths // 10, whole.lengths > 1)[owner]
    kept, hidden = (_grouped(owner[part], mixed[part], len(users)) for part in (~held, held))
    test_problem = _asked(whole, whole, relevant, "test")
    return Layout(
        kind="sets", items=len(known) + 1, features=ItemFeatures(bags={}), bags=(),
        validation=_asked(kept, kept, hidden, "validation"), test=test_problem,
        refit=True, ordered=False, dated=False, exclude_seen=True, k=20,
        metrics={"recall@20": lambda found, count: metrics.recall_at_k(found, count, 20),
                 "NDCG@20": lambda found, count: metrics.ndcg_at_k(found, count, 20)},
        protocol="a tenth of each user's training items chose everything, then trained on all of them with what they "
                 "chose; users with test items ranked over all items except their training items",
        counts=(interactions, len(test_problem.queries), len(known)),
    )  # fmt: skip
