"""Text encoder of a bundle: unit vectors of texts by an ONNX graph, which `encode_text` exports from any model."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from components.shared.errors import BundleError
from components.shared.storage import read_json, write_json
from components.shared.text.scripts import is_cjk

GRAPH, TOKENIZER, RECORD = "encoder.onnx", "tokenizer.json", "encoder.json"
FILES = (GRAPH, TOKENIZER, RECORD)
"""Files of an encoder's folder."""
INPUTS, OUTPUT = ("input_ids", "attention_mask"), "text_vector"
"""Inputs, int64 [texts, tokens], and output, float32 [texts, dim] of unit length, of the graph."""
_BATCH, _SORTED = 32, 4_096
"""Texts of one call of the graph, and those that are sorted by length, so that a call pads little."""
_CACHED = 10_000
_LONGEST = 10_000
"""Characters of a text that are read: more than any number of tokens that a model takes."""


@dataclass(frozen=True)
class EncoderRecord:
    """What is known of an encoder.

    Attributes:
        source: Where its model came from.
        dim: Length of its vectors.
        max_tokens: Tokens of a text that are read.
        query_prefix, item_prefix: Put before a query and before an item's text.
        chinese: Whether its vocabulary has words, not only characters, of Chinese; without them it encodes no text
            with Chinese in it.
        scale: Factor of its centred cosines, see components/encode_text/calibration.py.
    """

    source: str
    dim: int
    max_tokens: int
    query_prefix: str = ""
    item_prefix: str = ""
    chinese: bool = False
    scale: float = 1.0

    def write(self, folder: Path) -> None:
        """Write it into an encoder's folder."""
        write_json(folder / RECORD, asdict(self))


class TextEncoder:
    """An opened encoder; all methods are thread-safe."""

    def __init__(self, record: EncoderRecord, tokenizer: Tokenizer, session: onnxruntime.InferenceSession):
        self.record, self._session = record, session
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(record.max_tokens)
        self._cached = functools.lru_cache(_CACHED)(self._query)

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> Self:
        """Open the encoder in a folder.

        Raises:
            BundleError: a file is missing or damaged.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            record = EncoderRecord(**read_json(folder / RECORD))
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
            session = onnxruntime.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])
        # tokenizers and onnxruntime raise plain exceptions of many kinds for a file that they cannot read.
        except Exception as error:
            raise BundleError(f"{folder} holds no text encoder: {error}",
                              "give a folder that `shoprank encode-text` wrote") from error  # fmt: skip
        return cls(record, tokenizer, session)

    def reads(self, text: str) -> bool:
        """Whether the model knows the text's language well enough to encode it."""
        return bool(text.strip()) and (self.record.chinese or not any(map(is_cjk, text)))

    def query(self, text: str) -> np.ndarray | None:
        """Vector of a query, float32 [dim]; None if the model does not read it. The last queries are remembered."""
        return self._cached(text) if self.reads(text) else None

    def items(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of items' texts, float32 [texts, dim]; zeros for those that the model does not read."""
        vectors = np.zeros((len(texts), self.record.dim), np.float32)
        known = [at for at, text in enumerate(texts) if self.reads(text)]
        for start in range(0, len(known), _SORTED):
            some = known[start : start + _SORTED]
            for at, found in self._encoded([self.record.item_prefix + texts[one] for one in some]):
                vectors[[some[place] for place in at]] = found
        return vectors

    def _query(self, text: str) -> np.ndarray:
        ((_, (vector,)),) = self._encoded([self.record.query_prefix + text])
        return vector

    def _encoded(self, texts: Sequence[str]) -> Iterator[tuple[list[int], np.ndarray]]:
        """Places of texts with their vectors."""
        tokens = [self._tokenizer.encode(text[:_LONGEST]).ids for text in texts]
        order = sorted(range(len(tokens)), key=lambda at: len(tokens[at]))
        for start in range(0, len(order), _BATCH):
            at = order[start : start + _BATCH]
            ids = np.zeros((len(at), max(1, len(tokens[at[-1]]))), np.int64)
            mask = np.zeros_like(ids)
            for row, place in enumerate(at):
                ids[row, : len(tokens[place])] = tokens[place]
                mask[row, : len(tokens[place])] = 1
            (found,) = self._session.run([OUTPUT], dict(zip(INPUTS, (ids, mask), strict=True)))
            yield at, np.asarray(found, np.float32)
