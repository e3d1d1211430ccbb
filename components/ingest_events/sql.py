"""SQL strings, JSON and types."""

import pyarrow as pa


def literal(value: str) -> str:
    """`value` as a quoted SQL string."""
    return "'" + value.replace("'", "''") + "'"


def json_of(raw: str, kind: pa.DataType) -> str:
    """The raw column as JSON; NaN and infinity, which JSON does not support, become text."""
    if pa.types.is_floating(kind):
        return f"CASE WHEN isfinite({raw}) THEN to_json({raw}) ELSE to_json({raw}::VARCHAR) END"
    return f"to_json({raw}::VARCHAR)" if pa.types.is_nested(kind) else f"to_json({raw})"


SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.float32(): "FLOAT",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
    pa.list_(pa.string()): "VARCHAR[]",
    pa.list_(pa.float32()): "FLOAT[]",
    pa.map_(pa.string(), pa.string()): "MAP(VARCHAR, VARCHAR)",
}
"""DuckDB name of every type in the data contract."""
