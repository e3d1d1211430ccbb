"""Indexes of tantivy in a bundle: written by one thread, opened from a folder that may be read-only."""

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tantivy

ROW = "row"
"""Integer field of every schema: the row that a document is."""
_PLACE = "tantivy"
_HEAP_BYTES = 256_000_000


@contextmanager
def create_index(builder: tantivy.SchemaBuilder, folder: Path) -> Iterator[tantivy.IndexWriter]:
    """Create an index in a folder; its documents are numbered in the order in which they are added."""
    builder.add_integer_field(ROW, fast=True)
    place = folder / _PLACE
    place.mkdir()
    # One thread: documents of several would be in no order.
    writer = tantivy.Index(builder.build(), path=str(place)).writer(_HEAP_BYTES, num_threads=1)
    yield writer
    writer.commit()
    writer.wait_merging_threads()
    for lock in place.glob(".*.lock"):
        lock.unlink()


class OpenIndex:
    """An index that `create_index` wrote.

    Args:
        folder: Folder given to `create_index`.
    """

    def __init__(self, folder: Path):
        # A reader writes a lock file: it gets a folder of its own, with links to the files of the index.
        place = Path(tempfile.mkdtemp(prefix="shoprank-search-"))
        weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        for file in (folder / _PLACE).iterdir():
            (place / file.name).symlink_to(file.resolve())
        index = tantivy.Index.open(str(place))
        index.config_reader(reload_policy="manual")
        self.schema, self._searcher = index.schema, index.searcher()

    def search(self, query: tantivy.Query, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows, int64, and scores, float64, of the best documents."""
        hits = self._searcher.search(query, limit, count=False).hits
        rows = self._searcher.fast_field_values(ROW, [hit[1] for hit in hits])
        return np.array(rows, np.int64), np.fromiter((hit[0] for hit in hits), np.float64, len(hits))
