"""Dense leg of the search: cosine of a query's and an item's text vectors, centred per query and writing.

Encoders differ in what an unrelated text gets (a cosine of .1 or of .8), and put texts in one language nearer to each
other than to those in another one. A centred cosine is scale * (cosine - mean) / (1 - mean) with the query's mean
cosine over the items in the item's writing: 0 is an item as any other. The scale is the encoder's (calibration.py of
encode_text), so that the same threshold and weights do for all encoders.
"""
# faiss is a SWIG module whose classes have keyword arguments that are missing in its stubs.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false

import hashlib
from collections.abc import Iterable
from pathlib import Path

import faiss
import numpy as np

from components.shared.mapped_arrays import map_array
from components.shared.search.documents import Document, Field
from components.shared.text.encoder import TextEncoder
from components.shared.text.scripts import is_cjk

EXACT_UP_TO = 200_000
"""Catalogs up to this many items are scanned."""
ENCODED = (Field.TITLE, Field.DESCRIPTION)
"""Fields of an item that are encoded; its category and brand if it has neither."""
_INSTEAD = (Field.BRAND, Field.CATEGORY)
_INDEX, _DIGESTS, _WRITING, _MEANS = "vectors.faiss", "digests.npy", "writing.npy", "means.npy"
_NO_TEXT = 0
_PRIOR = 10
"""Items of the whole catalog that count in the mean of a writing, which may have few items itself."""


def encoded_text(document: Document) -> str:
    """Text of an item that is encoded."""
    texts = [document.text(field) for field in ENCODED]
    return " ".join(filter(None, texts)) or " ".join(filter(None, map(document.text, _INSTEAD)))


class DenseIndex:
    """int8 vectors of the items of a catalog, with their encoder.

    Args:
        encoder: Of their texts.
        index: Vectors less the mean of their writing, row by row.
        means: float32 [2, dim], mean vector of the items without and with letters of Chinese, Japanese or Korean.
        writing: uint8 [items], row of `means`.
        digests: uint64 [items], of their texts.
        least: Centred cosine from which an item means what is asked for.
    """

    def __init__(
        self, encoder: TextEncoder, index: faiss.Index, means: np.ndarray, writing: np.ndarray, digests: np.ndarray,
        least: float,
    ):  # fmt: skip
        self.encoder, self._index, self._means, self._writing = encoder, index, means, writing
        self._digests, self.least = digests, least

    @staticmethod
    def build(
        documents: Iterable[Document], folder: Path, encoder: TextEncoder, known: "DenseIndex | None" = None
    ) -> None:
        """Write the vectors of a catalog into an existing folder; a text that many items have is encoded once.

        Args:
            documents: Its items, row by row.
            folder: Where to write.
            encoder: Of their texts.
            known: An earlier index of the same encoder, whose texts are not encoded again.
        """
        place: dict[str, int] = {}
        rows = [place.setdefault(encoded_text(document), len(place)) for document in documents]
        texts = list(place)
        digests = np.array([_digest(text) for text in texts], np.uint64)
        vectors = np.zeros((len(texts), encoder.record.dim), np.float32)
        held = np.full(len(texts), -1) if known is None else known.rows_of(digests)
        vectors[held >= 0] = known.vectors(held[held >= 0]) if known is not None else 0
        missing = np.flatnonzero(held < 0)
        vectors[missing] = encoder.items([texts[at] for at in missing])
        encoded = np.array([encoder.reads(text) for text in texts], bool)
        writing = np.array([any(map(is_cjk, text)) for text in texts], np.uint8)
        means = _means(vectors, writing, encoded)
        vectors -= np.where(encoded[:, None], means[writing], vectors)
        faiss.write_index(_indexed(vectors[rows]), str(folder / _INDEX))
        np.save(folder / _DIGESTS, np.where(encoded, digests, _NO_TEXT).astype(np.uint64)[rows])
        np.save(folder / _WRITING, writing[rows])
        np.save(folder / _MEANS, means)

    @classmethod
    def load(cls, folder: Path, encoder: TextEncoder, least: float) -> "DenseIndex":
        """Open what `build` wrote; `encoder` and `least` as for the class."""
        digests, writing = (map_array(folder / name) for name in (_DIGESTS, _WRITING))
        index = faiss.read_index(str(folder / _INDEX))
        return cls(encoder, index, np.load(folder / _MEANS), writing, digests, least)

    def rows_of(self, digests: np.ndarray) -> np.ndarray:
        """A row of each text by its digest, int64; -1 for a text that no item has."""
        order = np.argsort(self._digests, kind="stable")
        at = np.searchsorted(self._digests, digests, sorter=order)
        row = order[np.minimum(at, len(order) - 1)]
        return np.where(self._digests[row] == digests, row, -1)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Vectors of items with a text that the model reads, float32 [rows, dim]."""
        return self._centred(rows) + self._means[self._writing[rows]]

    def _centred(self, rows: np.ndarray) -> np.ndarray:
        return self._index.reconstruct_batch(np.ascontiguousarray(rows, np.int64))

    def ask(self, query: str) -> "Asked | None":
        """The query as a vector; None if the encoder does not read it."""
        vector = self.encoder.query(query)
        return None if vector is None else Asked(self, vector)

    def centred(self, vector: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Centred cosines of items, float64 [rows]; 0 for items without a vector."""
        left = np.maximum(1 - (self._means @ vector).astype(np.float64), 1e-9)[self._writing[rows]]
        centred = self.encoder.record.scale * (self._centred(rows) @ vector) / left
        return np.where(self._digests[rows] == _NO_TEXT, 0.0, centred)

    def nearest(self, vector: np.ndarray, count: int, allowed: np.ndarray | None) -> np.ndarray:
        """Rows of the nearest allowed items, best first."""
        selector = None if allowed is None else faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        if isinstance(self._index, faiss.IndexHNSW):
            parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=max(64, 2 * count))
        else:
            parameters = None if selector is None else faiss.SearchParameters(sel=selector)
        _, rows = self._index.search(np.ascontiguousarray(vector[None], np.float32), count, params=parameters)
        return rows[0][rows[0] >= 0]


class Asked:
    """A query of a dense index."""

    def __init__(self, index: DenseIndex, vector: np.ndarray):
        self._index, self._vector = index, vector

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """See DenseIndex.centred."""
        return self._index.centred(self._vector, rows)

    def best(self, count: int, allowed: np.ndarray | None = None) -> np.ndarray:
        """Rows of at most `count` allowed items that mean what is asked for, best first."""
        rows = self._index.nearest(self._vector, count, allowed)
        return rows[self.scores(rows) >= self._index.least]


def _means(vectors: np.ndarray, writing: np.ndarray, encoded: np.ndarray) -> np.ndarray:
    """Mean vector of each writing, float32 [2, dim]."""
    whole = vectors[encoded].mean(0) if encoded.any() else np.zeros(vectors.shape[1])
    found = []
    for one in (0, 1):
        own = vectors[encoded & (writing == one)]
        found.append((own.sum(0) + _PRIOR * whole) / (len(own) + _PRIOR))
    return np.array(found, np.float32)


def _indexed(vectors: np.ndarray) -> faiss.Index:
    """An index that stores a byte a value, each dimension scaled; a graph (HNSW, Malkov and Yashunin 2016) if large."""
    kind, dim = faiss.ScalarQuantizer.QT_8bit, vectors.shape[1]
    if len(vectors) <= EXACT_UP_TO:
        index = faiss.IndexScalarQuantizer(dim, kind, faiss.METRIC_INNER_PRODUCT)
    else:
        index = faiss.IndexHNSWSQ(dim, kind, 32, faiss.METRIC_INNER_PRODUCT)
    vectors = np.ascontiguousarray(vectors, np.float32)
    index.train(vectors)
    index.add(vectors)
    return index


def _digest(text: str) -> int:
    """64 bits of a text, never _NO_TEXT."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") or 1
