"""Real shops for measuring quality, from raw events to features: one installed by pip, one in `--data`."""

import argparse
import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.build_features.build import build
from components.build_features.config import FeatureOptions
from components.ingest_events.ingest import IngestOutputs, ingest
from components.shared.errors import InputError
from components.shared.schema.sizes import size_named
from components.shared.schema.timeline import Timeline
from components.shared.storage import read_json, write_json

RETAIL = {"user_id": "customer_id", "item_id": "stock_code", "timestamp": "invoice_ts", "quantity": "quantity",
          "price": "unit_price", "session_id": "invoice", "constants": {"event_type": "purchase"}}  # fmt: skip
"""Mapping of online_retail_ii.parquet; ingest_events rejects returns and buyers without a number."""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Source of a shop's events."""

    name: str
    """Name in tables."""
    source: str
    """Built-in source, or a Parquet file."""
    mapping: dict[str, Any] | None = None
    """Mapping of the file's columns to the data contract."""

    @property
    def folder(self) -> str:
        """Name of the shop's output folder."""
        return self.name.lower().replace(" ", "-")

    def features(self, root: Path, size: str) -> Path:
        """Return the output of build_features under `root`; an existing one is kept."""
        outputs = IngestOutputs(**{field.name: root / field.name for field in dataclasses.fields(IngestOutputs)})
        if not (root / "features").exists():
            root.mkdir(parents=True, exist_ok=True)
            ingest(self.source if self.mapping is None else str(self._once(root)), outputs, size, self.mapping)
            build(outputs.events, outputs.items, root / "features", FeatureOptions.for_size(size_named(size)))
        return root / "features"

    def earlier(self, root: Path, size: str) -> Path:
        """As `features`, but of the events before the test window, so that its test window is the validation window.

        Settings chosen on it have not seen the labels on which results are reported.
        """
        if not (root / "earlier").exists():
            end = np.datetime64(Timeline.read(self.features(root, size) / "timeline.json").test, "s")
            with TemporaryDirectory(dir=root) as folder:
                shutil.copytree(root / "events", Path(folder) / "events")
                for path in (Path(folder) / "events").rglob("*.parquet"):
                    table = pq.read_table(path)
                    before = table["timestamp"].to_numpy() < end
                    pq.write_table(table.filter(pa.array(before)), path)
                build(
                    Path(folder) / "events", root / "items", root / "earlier", FeatureOptions.for_size(size_named(size))
                )
        return root / "earlier"

    def _once(self, root: Path) -> Path:
        """Write the file without the rows that are in both of its yearly sheets."""
        table = pq.read_table(self.source)
        again = table["is_sheet_overlap"].to_numpy()
        pq.write_table(table.take(np.flatnonzero(~again)), root / "source.parquet")
        return root / "source.parquet"


def go_on(root: Path, settings: dict[str, Any]) -> None:
    """Record the settings of a measurement's folder; its contents are reused only with the same settings.

    Raises:
        InputError: the folder has other settings.
    """
    path = root / "settings.json"
    if path.exists() and (before := read_json(path)) != settings:
        raise InputError(f"{root} was begun with {before}, not with {settings}", "name another --out, or remove it")
    write_json(path, settings)


def shops(data: Path | None) -> list[Shop]:
    """Return all available shops.

    Args:
        data: Folder with online_retail_ii/online_retail_ii.parquet; None: without that shop.

    Raises:
        InputError: the file does not exist.
    """
    found = [Shop(name="Complete Journey", source="complete-journey")]
    if data is not None:
        retail = data / "online_retail_ii" / "online_retail_ii.parquet"
        if not retail.exists():
            raise InputError(f"--data: {retail} does not exist", "name the folder that holds the data sets")
        found.append(Shop(name="Online Retail II", source=str(retail), mapping=RETAIL))
    return found


def shop_arguments(description: str | None, out: Path) -> argparse.ArgumentParser:
    """Return the argument parser of comparisons on every shop: data, out, size, seeds and results.

    Args:
        description: Description of the command.
        out: Default output folder.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, help="holds online_retail_ii/online_retail_ii.parquet; else one shop")
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--size", default="small")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=Path("tests/benchmarks/quality/results"))
    return parser
