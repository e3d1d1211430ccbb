"""Joins the chunks of small files: a query for each of ten thousand files would cost more than reading them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from components.ingest_events.readers.chunks import Chunk

_ROWS, _BYTES = 32_768, 16 << 20
"""A batch that has reached one of them is complete."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A chunk and where it is from.

    Attributes:
        path: of the file. kind: parquet, csv or json. constants: columns in the path.
        share: of the whole source, up to and including the chunk.
    """

    path: str
    kind: str
    constants: Mapping[str, str | None]
    chunk: Chunk
    share: float

    def goes_with(self, other: "Part") -> bool:
        """Whether the rows of two parts have the same columns."""
        return (
            self.kind == other.kind
            and self.constants == other.constants
            and self.chunk.rows.schema.equals(other.chunk.rows.schema)
        )


@dataclass
class Batch:
    """Parts that go together."""

    parts: list[Part] = field(default_factory=list)
    rows: int = 0
    size: int = 0

    def add(self, part: Part) -> None:
        """Add a part."""
        self.parts.append(part)
        self.rows += part.chunk.rows.num_rows
        self.size += part.chunk.rows.nbytes

    def full(self) -> bool:
        """Whether it is large enough to be read on its own."""
        return self.rows >= _ROWS or self.size >= _BYTES

    def table(self) -> pa.Table:
        """All rows."""
        return pa.concat_tables([part.chunk.rows for part in self.parts])

    def files(self) -> pa.Array:
        """The file of each row of `table`."""
        paths = list(dict.fromkeys(part.path for part in self.parts))
        place = {path: at for at, path in enumerate(paths)}
        of_rows = pa.concat_arrays(
            [pa.repeat(pa.scalar(place[part.path], pa.int32()), part.chunk.rows.num_rows) for part in self.parts]
        )
        return pa.DictionaryArray.from_arrays(of_rows, pa.array(paths, pa.string()))

    def malformed(self) -> pa.Table | None:
        """Lines that are none, with their reason and file."""
        lines = [(line, reason, part.path) for part in self.parts for line, reason in part.chunk.malformed]
        return pa.table(list(zip(*lines, strict=True)), names=["bad_line", "bad_reason", "bad_file"]) if lines else None


def batches(parts: Iterable[Part]) -> Iterator[Batch]:
    """Join neighbouring parts that go together, up to a few megabytes."""
    batch = Batch()
    for part in parts:
        if batch.parts and (batch.full() or not part.goes_with(batch.parts[-1])):
            yield batch
            batch = Batch()
        batch.add(part)
    if batch.parts:
        yield batch
