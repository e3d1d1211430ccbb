"""Files that no shop should send: random bytes, and small real files that were damaged."""

import bz2
import gzip
import io
import json
import lzma
import random
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

EVENT_COLUMNS = ("user_id", "item_id", "event_type", "timestamp", "query", "price", "quantity", "rating")
ITEM_COLUMNS = (
    "item_id", "title", "categories", "price", "available", "created_at", "attributes", "content_vector", "version",
)  # fmt: skip

CELLS = (
    "", " ", "a", "u1", "0010", "10.0", " 10 ", "NULL", "\\N", "nan", "-1", "1e999", "9" * 400, "$1,299.00",
    "1.299,00 €", "view", "VIEW", "purchase", "teleport", "2024-03-01", "2024-03-01T10:00:00Z", "1709251200",
    "1709251200000", "infinity", "-infinity", "294247-01-10", "-290308-12-21", "0001-01-01 (BC)",
    "2024-03-01 10:00 Europe/Paris",
    "24:00", "99999999999999999999", "20240301", "true", "out_of_stock", "A > B | C", '["A", "B"]', "['A', 'B']",
    '[{"name": "A"}]', '{"a": "b"}', '{"a": 1, "a": 2}', '{"": null}', "[1, 2]", "[1e999]", "[[[]]]", "{'a': {1}}",
    'a "b", c', "line\nbreak", "\r", "\r\n", "\ufeffc", "\u200b", "\u3000b\u00a0", "燕麦奶 🥛", "\x00", "\x1f", "\x01",
    "\x1a", "'", "\\", '\\"', "[" * 300, "{" * 300, '{"a":' * 300, "a" * 3000,
)  # fmt: skip

TOKENS = (
    b'"', b'""', b'"\n', b"\\", b",", b"\n", b"\r", b"\r\n", b"\n\n", b"\x00", b"\xef\xbb\xbf", b"\xff\xfe",
    b"\xfe\xff", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"sep=;\n",
    b"sep=\xc3\xa9\n", b'sep="\n', b"sep=\x00\n",
    b"[" * 5000, b"{" * 5000, b'{"a":' * 3000, b"[[", b"]", b"}", b"[{", b"NaN", b"Infinity", b"1e99999",
    b"9" * 5000, b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PAR1", b"PK\x03\x04", b"\x00" * 64,
    b"\xff\xff\xff\x7f", b"\xff" * 8, b"\x80\x80\x80\x80\x08", b"," * 2000, b";" * 10, b"a" * 70_000, b'"' * 1001,
    b"user_id", b"item_id,", b"\xe2\x80\xa8", b"\x1a",
)  # fmt: skip

ENDINGS = (
    ".csv", ".csv", ".tsv", ".jsonl", ".jsonl", ".ndjson", ".json", ".json", ".parquet", ".parquet", ".parquet",
    ".csv.gz", ".jsonl.bz2", ".json.xz", ".csv.zst", ".snappy.parquet",
)  # fmt: skip


@dataclass(frozen=True)
class Garbage:
    """One file.

    Attributes:
        name: of the file. content: its bytes. table: events or items, whose columns the file had before it was damaged.
    """

    name: str
    content: bytes
    table: str


def garbage(number: int, table: str) -> Garbage:
    """The file of a number: the same number gives the same file."""
    dice = random.Random(number)
    ending = dice.choice(ENDINGS)
    if dice.random() < 0.06:
        return Garbage("g" + ending, dice.randbytes(dice.choice((0, 1, 7, 60, 700))), table)
    columns = EVENT_COLUMNS if table == "events" else ITEM_COLUMNS
    written = dice.choice(ENDINGS) if dice.random() < 0.1 else ending
    content = _file(dice, written, columns)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 6))):
        content = _damaged(dice, content)
    if (compress := _compression(written)) and dice.random() < 0.8:
        content = compress(content)
        if dice.random() < 0.4:
            content = _damaged(dice, content)
    return Garbage("g" + ending, content, table)


def _file(dice: random.Random, ending: str, columns: tuple[str, ...]) -> bytes:
    chosen = [column for column in columns if dice.random() < 0.98]
    if dice.random() < 0.05:
        chosen.append(dice.choice((*CELLS, *columns)))
    rows = [[_cell(dice, column) for column in chosen] for _ in range(dice.choice((0, 1, 2, 3, 3, 4, 4, 5, 5)))]
    if "parquet" in ending:
        return _parquet(dice, chosen, rows)
    text = _json(dice, chosen, rows) if "json" in ending or "ndjson" in ending else _csv(dice, chosen, rows)
    return text.encode(dice.choice((*["utf-8"] * 12, "utf-8-sig", "utf-16", "utf-16-le")), "surrogatepass")


def _cell(dice: random.Random, column: str) -> str:
    usual = {"user_id": "u1", "item_id": "i1", "event_type": "view", "timestamp": "2024-03-01T10:00:00Z"}
    return usual[column] if column in usual and dice.random() < 0.85 else dice.choice(CELLS)


def _csv(dice: random.Random, columns: list[str], rows: list[list[str]]) -> str:
    separator, end = dice.choice(",,,,;\t|\x01"), dice.choice(("\n", "\n", "\r\n", "\r"))
    always = dice.random() < 0.3

    def written(cell: str) -> str:
        special = always or any(sign in cell for sign in ('"', separator, "\n", "\r"))
        return '"' + cell.replace('"', '""') + '"' if special and dice.random() < 0.95 else cell

    return "".join(separator.join(map(written, row)) + end for row in [columns, *rows])


def _json(dice: random.Random, columns: list[str], rows: list[list[str]]) -> str:
    objects = [{column: _value(dice, cell) for column, cell in zip(columns, row, strict=True)} for row in rows]
    form = dice.choice(("lines", "lines", "array", "indented"))
    if form == "array":
        return json.dumps(objects, ensure_ascii=dice.random() < 0.5, indent=dice.choice((None, 1)))
    indent = 1 if form == "indented" else None
    return "\n".join(json.dumps(one, ensure_ascii=dice.random() < 0.5, indent=indent) for one in objects)


def _value(dice: random.Random, cell: str) -> object:
    """A cell as a JSON value of any type."""
    others = (None, True, 10, 10.0, -1, 1e308, float("nan"), float("inf"), 10**30, [], {}, [cell], {"a": cell},
              {"": cell}, {"a": [cell]}, {"a": 1, "b": cell}, [[cell]], {"/": cell, "~": 1}, "\ud800")  # fmt: skip
    return cell if dice.random() < 0.8 else dice.choice(others)


_INT64 = 2**63 - 1
_REQUIRED = ("user_id", "item_id", "event_type", "timestamp")

_COLUMNS: tuple[Callable[[random.Random, int], pa.Array], ...] = (
    lambda dice, n: pa.array([dice.choice((0, 10, -1, _INT64, -_INT64, None)) for _ in range(n)], pa.int64()),
    lambda dice, n: pa.array([dice.choice((0, 10, 2**64 - 1)) for _ in range(n)], pa.uint64()),
    lambda dice, n: pa.array([dice.choice((0.0, 10.0, 1e300, float("nan"), float("-inf"))) for _ in range(n)]),
    lambda dice, n: pa.array([dice.choice((0.0, 1.5, float("inf"))) for _ in range(n)], pa.float16()),
    lambda dice, n: pa.array([dice.choice((0, _INT64, -_INT64, 1709251200 * 10**6, None)) for _ in range(n)],
                             pa.timestamp(dice.choice(("ms", "us", "ns")), dice.choice((None, "UTC", "+07:30")))),
    lambda dice, n: pa.array([dice.choice((0, 2**31 - 1, -(2**31), None)) for _ in range(n)], pa.date32()),
    lambda dice, n: pa.array([dice.choice((0, 86_400_000, -86_400_000)) for _ in range(n)], pa.date64()),
    lambda dice, n: pa.array([dice.choice((0, 86_399_999_999, None)) for _ in range(n)], pa.time64("us")),
    lambda dice, n: pa.array([dice.choice((0, _INT64, None)) for _ in range(n)], pa.duration(dice.choice(("s", "us")))),
    lambda dice, n: pa.array([dice.choice((b"10", b"\xff", b"\x00", b"", None)) for _ in range(n)], pa.binary()),
    lambda dice, n: pa.array([dice.choice((True, False, None)) for _ in range(n)]),
    lambda dice, n: pa.nulls(n),
    lambda dice, n: pa.array([dice.choice(CELLS) for _ in range(n)], pa.large_string()),
    lambda dice, n: pa.array([dice.choice(CELLS) for _ in range(n)]).dictionary_encode(),
    lambda dice, n: pa.array([[dice.choice(CELLS), None] for _ in range(n)], pa.list_(pa.string())),
    lambda dice, n: pa.array([[dice.choice((1.0, float("nan"))), None] for _ in range(n)], pa.list_(pa.float32())),
    lambda dice, n: pa.array([{"name": dice.choice(CELLS), "b": 1} for _ in range(n)],
                             pa.struct({"name": pa.string(), "b": pa.int8()})),
    lambda dice, n: pa.array([[(dice.choice(CELLS), "1"), ("a", None)] for _ in range(n)],
                             pa.map_(pa.string(), pa.string())),
    lambda dice, n: pa.array([[(1, 2)] for _ in range(n)], pa.map_(pa.int32(), pa.int64())),
    lambda dice, n: pa.array([[{"name": dice.choice(CELLS)}] for _ in range(n)]
                             , pa.list_(pa.struct({"name": pa.string()}))),
    lambda dice, n: pa.array([dice.choice((0, 10**37, None)) for _ in range(n)], pa.decimal128(38, 0)),
    lambda dice, n: pa.array([dice.choice((0, 10**60, None)) for _ in range(n)], pa.decimal256(76, 3)),
)  # fmt: skip


def _parquet(dice: random.Random, columns: list[str], rows: list[list[str]]) -> bytes:
    typed = dice.random() < 0.7

    def column(at: int) -> pa.Array:
        if typed and dice.random() < (0.1 if columns[at] in _REQUIRED else 0.3):
            return dice.choice(_COLUMNS)(dice, len(rows))
        texts = [row[at] for row in rows]
        if dice.random() < 0.05:
            # Text that is not UTF-8, which writers in other languages produce.
            return pa.array([text.encode() + b"\xff" for text in texts], pa.binary()).view(pa.string())
        return pa.array(texts, pa.string())

    table = pa.table([column(at) for at in range(len(columns))], names=columns)
    stream = io.BytesIO()
    pq.write_table(table, stream, compression=dice.choice(("none", "snappy", "zstd")), version="2.6",
                   store_schema=dice.random() < 0.5, use_dictionary=dice.random() < 0.5)  # fmt: skip
    return stream.getvalue()


def _damaged(dice: random.Random, content: bytes) -> bytes:
    data = bytearray(content)
    at = dice.randrange(len(data) + 1)
    end = min(len(data), at + dice.choice((1, 2, 8, 40)))
    how = dice.choice(("bits", "bits", "cut", "twice", "lost", "token", "token", "number"))
    if how == "bits":
        for _ in range(dice.choice((1, 1, 3, 20)) if data else 0):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    elif how == "cut":
        del data[at:]
    elif how == "twice":
        data[end:end] = data[at:end] * dice.choice((1, 1, 30))
    elif how == "lost":
        del data[at:end]
    elif how == "token":
        data[at:at] = dice.choice(TOKENS)
    else:
        data[at:end] = dice.randbytes(end - at) if dice.random() < 0.5 else b"\xff" * (end - at)
    return bytes(data)


def _zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def _compression(ending: str) -> Callable[[bytes], bytes] | None:
    known = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": _zstd}
    return next((compress for end, compress in known.items() if ending.endswith(end)), None)
