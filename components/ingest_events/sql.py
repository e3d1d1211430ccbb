"""SQL expressions that convert raw columns to the types of the data contract and never fail on a row.

A value that cannot be converted becomes NULL; the caller compares it with the raw column and rejects the row.
"""

from collections.abc import Mapping

import pyarrow as pa

_FLOAT_MAX = 3.4e38
_INTEGRAL_MAX = 2**53


def identifier(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """`value` as a quoted SQL string."""
    return "'" + value.replace("'", "''") + "'"


def text(raw: str, kind: pa.DataType) -> str:
    """A string column; blank becomes null, and integer ids that pandas stored as floats lose their '.0'."""
    if pa.types.is_floating(kind):
        whole = f"isfinite({raw}) AND {raw} = floor({raw}) AND abs({raw}) < {_INTEGRAL_MAX}"
        return f"CASE WHEN {whole} THEN {raw}::BIGINT::VARCHAR ELSE {raw}::VARCHAR END"
    return f"CASE WHEN trim({raw}::VARCHAR) <> '' THEN {raw}::VARCHAR END"


def number(raw: str, kind: pa.DataType) -> str:
    """A float32 column, computed as float64; values beyond float32 become infinite and are rejected by a rule."""
    wide = f"{raw}::DOUBLE" if _is_number(kind) else f"TRY_CAST(trim({raw}::VARCHAR) AS DOUBLE)"
    return f"CASE WHEN abs({wide}) > {_FLOAT_MAX} THEN 'inf'::FLOAT ELSE ({wide})::FLOAT END"


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def boolean(raw: str) -> str:
    """A boolean column; true/false, yes/no, 1/0."""
    return f"TRY_CAST(lower(trim({raw}::VARCHAR)) AS BOOLEAN)"


def timestamp(raw: str, kind: pa.DataType) -> str:
    """A UTC timestamp from a timestamp, a date, an ISO 8601 text or an epoch in s, ms, us or ns (by its magnitude)."""
    if pa.types.is_temporal(kind):
        return f"TRY_CAST({raw} AS TIMESTAMPTZ)"
    if _is_number(kind):
        return _epoch(f"{raw}::DOUBLE", f"{raw}::VARCHAR")
    trimmed = f"trim({raw}::VARCHAR)"
    is_number = rf"regexp_full_match({trimmed}, '-?\d+(\.\d+)?')"
    epoch = _epoch(f"TRY_CAST({trimmed} AS DOUBLE)", trimmed)
    return f"CASE WHEN {is_number} THEN {epoch} ELSE TRY_CAST({trimmed} AS TIMESTAMPTZ) END"


def _epoch(value: str, digits: str) -> str:
    # 20210101 is a date, not an epoch time in August 1970.
    compact = rf"regexp_full_match({digits}, '(19|20)\d{{6}}')"
    microseconds = (
        f"CASE WHEN abs({value}) < 1e11 THEN {value} * 1e6 WHEN abs({value}) < 1e14 THEN {value} * 1e3 "
        f"WHEN abs({value}) < 1e17 THEN {value} WHEN abs({value}) < 9e18 THEN {value} / 1e3 END"
    )
    return (
        f"CASE WHEN {compact} THEN TRY_STRPTIME({digits}, '%Y%m%d')::TIMESTAMPTZ "
        f"ELSE make_timestamp(round({microseconds})::BIGINT)::TIMESTAMPTZ END"
    )


def text_list(raw: str, kind: pa.DataType) -> str:
    """Categories: a list, a JSON array, or text split at '|' or '>'; blank elements are dropped."""
    if _is_list(kind):
        steps = f"{raw}::VARCHAR[]"
    else:
        plain = f"nullif(trim({raw}::VARCHAR), '')"
        # A text that only looks like JSON ("[sale] shoes") is split like any other.
        json_text = f"CASE WHEN starts_with({plain}, '[') AND json_valid({plain}) THEN {plain}::JSON END"
        steps = rf"coalesce(TRY_CAST({json_text} AS VARCHAR[]), regexp_split_to_array({plain}, '\s*[|>]\s*'))"
    return f"list_filter(list_transform({steps}, lambda step: trim(step)), lambda step: step <> '')"


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def float_list(raw: str, kind: pa.DataType) -> str:
    """A content vector: a list of numbers or a JSON array of them."""
    if _is_list(kind):
        return f"TRY_CAST({raw} AS FLOAT[])"
    plain = f"trim({raw}::VARCHAR)"
    return f"TRY_CAST(CASE WHEN json_valid({plain}) THEN {plain}::JSON END AS FLOAT[])"


def text_map(raw: str, kind: pa.DataType) -> str:
    """Attributes: a map, a struct, or a JSON object."""
    if pa.types.is_map(kind):
        return f"{raw}::MAP(VARCHAR, VARCHAR)"
    plain = f"to_json({raw})" if pa.types.is_struct(kind) else f"trim({raw}::VARCHAR)"
    return f"TRY_CAST(CASE WHEN json_valid({plain}) THEN {plain}::JSON END AS MAP(VARCHAR, VARCHAR))"


def map_of(columns: Mapping[str, str]) -> str:
    """A map from {key: raw column}, without keys whose column is blank."""
    pairs = ", ".join(f"{{'k': {literal(key)}, 'v': {raw}::VARCHAR}}" for key, raw in columns.items())
    return f"map_from_entries(list_filter([{pairs}], lambda pair: trim(pair.v) <> ''))"


def value(field: pa.Field, raw: str, kind: pa.DataType) -> str:
    """The expression that reads the raw column `raw`, of Arrow type `kind`, as `field` of the data contract."""
    wanted = field.type
    if pa.types.is_timestamp(wanted):
        return timestamp(raw, kind)
    if pa.types.is_floating(wanted):
        return number(raw, kind)
    if pa.types.is_boolean(wanted):
        return boolean(raw)
    if pa.types.is_map(wanted):
        return text_map(raw, kind)
    if pa.types.is_list(wanted):
        return float_list(raw, kind) if pa.types.is_floating(wanted.value_type) else text_list(raw, kind)
    return text(raw, kind)


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
