"""Reads the needed columns of Parquet files."""

import contextlib
from collections.abc import Collection, Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest_events.readers.chunks import Chunk, check_unique
from components.shared.errors import InputError, SchemaError

PARQUET_BATCH = 262_144
"""Rows of a chunk."""
_PER_SECOND = {"s": 1, "ms": 1_000}
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999."""


def read_parquet(stream: IO[bytes], name: str, wanted: Collection[str]) -> Iterator[Chunk]:
    """Read a Parquet file by batches.

    Args:
        stream: The file.
        name: What errors call it.
        wanted: Columns that are read if the file has them.

    Raises:
        InputError: the file is corrupt.
        SchemaError: two columns have the same name, or a wanted column has a type that cannot be read.
    """
    with _errors(name):
        file = pq.ParquetFile(stream)
        names = file.schema_arrow.names
        check_unique(names, name)
        chosen = [column for column in names if column in wanted]
        total, done = max(file.metadata.num_rows, 1), 0
        # Without any column a batch would have no rows.
        for batch in file.iter_batches(batch_size=PARQUET_BATCH, columns=chosen or names[:1]):
            done += batch.num_rows
            columns = [_readable(batch[column], column, name) for column in batch.schema.names]
            rows = pa.table(columns, names=batch.schema.names)
            yield Chunk(rows=rows, share=done / total, columns=tuple(names))
        if not done:
            empty = file.schema_arrow.empty_table().select(chosen or names[:1])
            yield Chunk(rows=empty, share=1.0, columns=tuple(names))


def first_rows(stream: IO[bytes], name: str, count: int) -> list[dict[str, Any]]:
    """The first rows of a Parquet file, with all columns.

    Raises:
        InputError: the file is corrupt.
    """
    with _errors(name):
        batch = next(pq.ParquetFile(stream).iter_batches(batch_size=count), None)
        if batch is None:
            return []
        columns = [_python_values(column) for column in batch.columns]
        return [dict(zip(batch.schema.names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _python_values(column: Any) -> list[Any]:
    """Values of a column; None for those that Python has no form of, such as dates in other years than 1 to 9999."""
    found: list[Any] = []
    for cell in column:
        try:
            found.append(cell.as_py(maps_as_pydicts="lossy"))
        except (OverflowError, ValueError, pa.ArrowException):
            found.append(None)
    return found


@contextlib.contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    # A name of a column that is not UTF-8 is a ValueError.
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{name} cannot be read as Parquet: {str(error).splitlines()[0]}",
            "write the file again, or remove it from the source; it may be truncated",
        ) from error


def _readable(column: Any, label: str, name: str) -> Any:
    """A column of a type that DuckDB reads."""
    try:
        # Neither text nor the places of a dictionary are checked by the reader, and DuckDB trusts both.
        column.validate(full=True)
        return _converted(column)
    except pa.ArrowInvalid as error:
        raise SchemaError(
            f"{name}: column '{label}' {_why(column.type, str(error))}", "write it as UTF-8 text"
        ) from error


def _why(kind: pa.DataType, error: str) -> str:
    if "UTF8" in error:
        return f"is {'binary' if _is_binary(kind) else kind} and not UTF-8"
    return f"is {kind} with values beyond 38 digits" if pa.types.is_decimal(kind) else f"is broken: {error}"


def _is_binary(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )  # fmt: skip


def _converted(column: Any) -> Any:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit in _PER_SECOND:
        # DuckDB counts microseconds and fails on times beyond; the first and last year are out of range as well.
        first, last = (second * _PER_SECOND[kind.unit] for second in (_FIRST_SECOND, _LAST_SECOND))
        return _within(column.cast(pa.int64()), first, last).cast(kind)
    target = _target(kind)
    return column if target == kind else column.cast(target)


def _target(kind: Any) -> Any:
    """The type, with those that DuckDB does not read or reads as something else replaced, at any depth."""
    types = pa.types
    if types.is_dictionary(kind):
        return _target(kind.value_type)
    if _is_binary(kind):
        return pa.string()
    if types.is_string_view(kind):
        return pa.large_string()
    if types.is_float16(kind):
        return pa.float32()
    if types.is_decimal256(kind):
        return pa.decimal128(38, min(kind.scale, 38))
    if types.is_struct(kind):
        return pa.struct([pa.field(one.name, _target(one.type)) for one in kind])
    if types.is_map(kind):
        return pa.map_(_target(kind.key_type), _target(kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = _target(kind.value_type)
        return kind if inner == kind.value_type else pa.list_(inner)
    return kind


def _within(column: Any, first: int, last: int) -> pa.Array:
    """Integers, those beyond the limits as the limits."""
    missing = column.is_null().to_numpy(zero_copy_only=False)
    return pa.array(np.clip(column.fill_null(0).to_numpy(), first, last), mask=missing)
