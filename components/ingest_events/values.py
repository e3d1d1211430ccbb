"""SQL expressions that convert raw columns to the types of the data contract and never fail on a row.

A value that cannot be converted becomes NULL; the caller compares it with the raw column.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from components.ingest_events import sql
from components.ingest_events.lists import is_list
from components.shared.schema.identifiers import BLANKS, MARKS, NULL_WORDS, WHOLE_NUMBER

_FLOAT_MAX = 3.4e38
_INTEGRAL_MAX = 2**53
_EARLIEST_S, _LATEST_S = 10**8, 7_258_118_400
"""Plausible epoch times: 1973-03-03 to 2200. A smaller number is a day, a year or a time of day, not an epoch."""

TRUE_WORDS = (
    "true", "t", "yes", "y", "on", "instock", "available", "preorder", "presale", "backorder", "limitedavailability",
    "onlineonly", "instoreonly", "madetoorder", "active",
)  # fmt: skip
"""Words for an item that can be ordered, without case, blanks, '_' and '-'; those of schema.org and Google Merchant."""
FALSE_WORDS = (
    "false", "f", "no", "n", "off", "outofstock", "soldout", "unavailable", "notavailable", "discontinued", "inactive",
    "reserved",
)  # fmt: skip
"""Words for an item that cannot be ordered."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How values are read."""

    null_words: tuple[str, ...] = NULL_WORDS
    """Words for a missing id, number or time, in lower case."""
    time_format: str = ""
    """Format of times (strptime) that are neither ISO 8601 nor an epoch; empty: none."""

    @classmethod
    def of(cls, null_words: Iterable[str], time_format: str) -> "Reading":
        """As DataOptions says."""
        return cls(null_words=tuple(word.strip().lower() for word in null_words), time_format=time_format)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A raw column, and what several expressions need of it, computed once: CASE does not share expressions.

    Attributes:
        raw: SQL of the value. kind: its Arrow type. text: SQL of its trimmed text, null if blank; '' if `kind` is no
        text. amount: SQL of the number in it, DOUBLE, null if it is none.
    """

    raw: str
    kind: pa.DataType
    text: str = ""
    amount: str = "NULL::DOUBLE"

    @property
    def shown(self) -> str:
        """SQL of its text, whatever its type."""
        return self.text or f"{self.raw}::VARCHAR"


def trimmed(raw: str) -> str:
    """A text without blanks at its edges, as identifiers.trimmed."""
    # Trimming many characters is slow, and hardly any value needs it.
    edges = " OR ".join(f"{side}({raw}, 1) < '!' OR {side}({raw}, 1) > '~'" for side in ("left", "right"))
    return f"CASE WHEN {edges} THEN trim({raw}, {sql.literal(BLANKS + MARKS)}) ELSE {raw} END"


def _is_missing_word(plain: str, reading: Reading) -> str:
    if not reading.null_words:
        return "false"
    words, longest = ", ".join(map(sql.literal, reading.null_words)), max(map(len, reading.null_words))
    return f"(strlen({plain}) <= {longest} AND lower({plain}) IN ({words}))"


def is_given(cell: Cell, reading: Reading) -> str:
    """Whether a raw column has a value: not null, not blank, and no word for a missing value."""
    if not cell.text:
        return f"{cell.raw} IS NOT NULL"
    return f"{cell.text} IS NOT NULL AND NOT {_is_missing_word(cell.text, reading)}"


def text(cell: Cell) -> str:
    """A string column; blank becomes null."""
    if pa.types.is_floating(cell.kind):
        whole = f"isfinite({cell.raw}) AND {cell.raw} = floor({cell.raw}) AND abs({cell.raw}) < {_INTEGRAL_MAX}"
        return f"CASE WHEN {whole} THEN {cell.raw}::BIGINT::VARCHAR ELSE {cell.raw}::VARCHAR END"
    return cell.shown


def identifier(cell: Cell, reading: Reading) -> str:
    """An id, as identifiers.identifier: '10.0' is '10', words for a missing value are null."""
    if pa.types.is_integer(cell.kind):
        return f"{cell.raw}::VARCHAR"
    plain = text(cell)
    return (
        f"CASE WHEN {_is_missing_word(plain, reading)} THEN NULL WHEN contains({plain}, '.') AND "
        f"regexp_full_match({plain}, {sql.literal(WHOLE_NUMBER)}) THEN split_part({plain}, '.', 1) ELSE {plain} END"
    )


def number(cell: Cell) -> str:
    """A float32 column, computed as float64; what is not finite becomes null.

    Text may have a currency, digit groups and a decimal comma: "$1,299.00", "1.299,00 €", "12,5". A single comma before
    three digits groups them, as "1,100"; a single point is a decimal point.
    """
    plain = f"CASE WHEN isfinite({cell.amount}) AND abs({cell.amount}) <= {_FLOAT_MAX} THEN {cell.amount}::FLOAT END"
    if not cell.text:
        return plain
    return (
        f"CASE WHEN {cell.amount} IS NOT NULL THEN {plain} "
        f"WHEN {cell.text} IS NOT NULL THEN TRY_CAST({_written_number(cell.text)} AS FLOAT) END"
    )


def is_number(kind: pa.DataType) -> bool:
    """Whether a type is one of numbers."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _written_number(plain: str) -> str:
    currency = r"(?:\p{Sc}|[A-Za-z]{1,3}\.?\p{Sc}?)?"
    # Group 1 is the sign, group 2 the number.
    parts = rf"^\s*([-+]?)\s*{currency}\s*([-+]?\d[\d.,'’\s\p{{Zs}}]*)\s*{currency}$"
    shown = rf"regexp_replace({plain}, {sql.literal(parts)}, '\1\2')"
    bare = rf"regexp_replace({shown}, '[''’\s\p{{Zs}}]', '', 'g')"
    points, commas = f"(length({bare}) - length(replace({bare}, '.', '')))", f"strpos({bare}, ',') > 0"
    grouped_by_comma = rf"regexp_full_match({bare}, '[-+]?\d{{1,3}}(,\d{{2,3}})*,\d{{3}}(\.\d*)?')"
    grouped_by_point = rf"regexp_full_match({bare}, '[-+]?\d{{1,3}}(\.\d{{3}})+(,\d*)?')"
    decimal_comma = rf"regexp_full_match({bare}, '[-+]?\d+,\d+')"
    return (
        f"CASE WHEN NOT regexp_full_match({plain}, {sql.literal(parts)}) THEN NULL "
        f"WHEN {grouped_by_comma} THEN TRY_CAST(replace({bare}, ',', '') AS DOUBLE) "
        f"WHEN {grouped_by_point} AND ({commas} OR {points} > 1) "
        f"THEN TRY_CAST(replace(replace({bare}, '.', ''), ',', '.') AS DOUBLE) "
        f"WHEN {decimal_comma} THEN TRY_CAST(replace({bare}, ',', '.') AS DOUBLE) "
        f"ELSE TRY_CAST({bare} AS DOUBLE) END"
    )


def boolean(cell: Cell) -> str:
    """Whether an item can be ordered: true and false, a number in stock, or the usual words such as out_of_stock."""
    if pa.types.is_boolean(cell.kind):
        return cell.raw
    amount = f"CASE WHEN isfinite({cell.amount}) THEN {cell.amount} > 0 END"
    if not cell.text:
        return amount
    word = rf"regexp_replace(regexp_replace(lower({cell.text}), '^https?://schema\.org/', ''), '[\s_-]', '', 'g')"
    true, false = (", ".join(map(sql.literal, words)) for words in (TRUE_WORDS, FALSE_WORDS))
    words = f"CASE WHEN {word} IN ({true}) THEN true WHEN {word} IN ({false}) THEN false END"
    return f"CASE WHEN {cell.amount} IS NOT NULL THEN {amount} ELSE {words} END"


def timestamp(cell: Cell, reading: Reading) -> str:
    """A UTC timestamp from a timestamp, a date, an ISO 8601 text, yyyymmdd[HHMM[SS]] or an epoch in s, ms, us or ns.

    The unit of an epoch follows from its magnitude. Numbers that are no plausible epoch become null.
    """
    if pa.types.is_temporal(cell.kind):
        return f"TRY_CAST({cell.raw} AS TIMESTAMPTZ)"
    digits = cell.text or (f"{cell.raw}::VARCHAR" if pa.types.is_integer(cell.kind) else text(cell))
    found = f"CASE WHEN isfinite({cell.amount}) THEN {_epoch(cell.amount, digits)}"
    if cell.text:
        # A blank before the offset, as Shopify and Ruby write it.
        closed = rf"regexp_replace({cell.text}, '\s+([+-]\d{{2}}):?(\d{{2}})$', '\1:\2')"
        found += f" ELSE coalesce(TRY_CAST({cell.text} AS TIMESTAMPTZ), TRY_CAST({closed} AS TIMESTAMPTZ))"
    found += " END"
    if not reading.time_format:
        return found
    return f"coalesce(TRY_STRPTIME({digits}, {sql.literal(reading.time_format)})::TIMESTAMPTZ, {found})"


def _epoch(value: str, digits: str) -> str:
    """A number as a time; comparisons of numbers first, which are fast."""
    seconds, *larger = (
        f"WHEN {value} BETWEEN {_EARLIEST_S * per_second} AND {_LATEST_S * per_second} "
        f"THEN make_timestamp(round({value} * {1e6 / per_second})::BIGINT)::TIMESTAMPTZ"
        for per_second in (1, 10**3, 10**6, 10**9)
    )
    # 20210101 is a date, not an epoch time in August 1970, and 202101011230 is not one in May 1976.
    day = r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
    clock = r"([01]\d|2[0-3])[0-5]\d"
    dates = [
        f"WHEN {value} BETWEEN 19{'0' * zeros} AND 21{'0' * zeros} AND regexp_full_match({digits}, '{pattern}') "
        f"THEN TRY_STRPTIME({digits}, '{form}')::TIMESTAMPTZ"
        for zeros, pattern, form in ((6, day, "%Y%m%d"), (10, day + clock, "%Y%m%d%H%M"),
                                     (12, day + clock + r"[0-5]\d", "%Y%m%d%H%M%S"))
    ]  # fmt: skip
    return f"CASE {seconds} {' '.join(dates)} {' '.join(larger)} END"


def text_list(cell: Cell) -> str:
    """Categories: a list, the text of one (JSON, or as Python writes it), or text split at '|' or '>'."""
    if is_list(cell.kind) and pa.types.is_string(cell.kind.value_type):
        steps = f"{cell.raw}::VARCHAR[]"
    elif pa.types.is_nested(cell.kind):
        steps = f"category_levels(to_json({cell.raw})::VARCHAR)"
    else:
        steps = (
            f"CASE WHEN left({cell.shown}, 1) IN ('[', '{{', '(') THEN category_levels({cell.shown}) "
            rf"ELSE regexp_split_to_array({cell.shown}, '\s*[|>]\s*') END"
        )
    return rf"list_filter(list_transform({steps}, lambda step: trim(step)), lambda step: step NOT IN ('', '\N'))"


def float_list(cell: Cell) -> str:
    """A content vector: a list of numbers or a JSON array of them; null if one is missing or not finite."""
    if is_list(cell.kind):
        numbers = f"TRY_CAST({cell.raw} AS FLOAT[])"
    else:
        numbers = f"TRY_CAST(CASE WHEN json_valid({cell.shown}) THEN {cell.shown}::JSON END AS FLOAT[])"
    odd = f"len(list_filter({numbers}, lambda x: x IS NULL OR NOT isfinite(x)))"
    return f"CASE WHEN {odd} = 0 THEN {numbers} END"


def text_map(cell: Cell) -> str:
    """Attributes: a map, a struct, or a JSON object."""
    if pa.types.is_map(cell.kind):
        return f"{cell.raw}::MAP(VARCHAR, VARCHAR)"
    plain = f"to_json({cell.raw})" if pa.types.is_struct(cell.kind) else cell.shown
    return f"TRY_CAST(CASE WHEN json_valid({plain}) THEN {plain}::JSON END AS MAP(VARCHAR, VARCHAR))"


def map_of(columns: Mapping[str, str]) -> str:
    """A map from {key: raw column}, without keys whose column is blank."""
    pairs = ", ".join(f"{{'k': {sql.literal(key)}, 'v': {raw}::VARCHAR}}" for key, raw in columns.items())
    return f"map_from_entries(list_filter([{pairs}], lambda pair: trim(pair.v) <> ''))"


def value(field: pa.Field, cell: Cell, reading: Reading) -> str:
    """The expression that reads a raw column as `field` of the data contract."""
    wanted = field.type
    if pa.types.is_timestamp(wanted):
        return timestamp(cell, reading)
    if pa.types.is_floating(wanted):
        return number(cell)
    if pa.types.is_boolean(wanted):
        return boolean(cell)
    if pa.types.is_map(wanted):
        return text_map(cell)
    if pa.types.is_list(wanted):
        return float_list(cell) if pa.types.is_floating(wanted.value_type) else text_list(cell)
    if field.name.endswith("_id"):
        return identifier(cell, reading)
    # MySQL writes \N for a missing text; the other words for missing values may be names.
    return f"nullif({text(cell)}, '\\N')"
