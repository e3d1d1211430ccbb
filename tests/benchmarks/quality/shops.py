"""The real shops that quality is measured on, from raw events to features: one that pip installs, one of `--data`."""

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
"""Mapping of online_retail_ii.parquet; returns and buyers without a number are refused by ingest_events."""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Where the events of a shop come from."""

    name: str
    """As tables print it."""
    source: str
    """Built-in source, or a Parquet file."""
    mapping: dict[str, Any] | None = None
    """Columns of the file in the words of the data contract."""

    @property
    def folder(self) -> str:
        """Name of the folder for what is made of it."""
        return self.name.lower().replace(" ", "-")

    def features(self, root: Path, size: str) -> Path:
        """Output of build_features under `root`; kept where it is already there."""
        outputs = IngestOutputs(**{field.name: root / field.name for field in dataclasses.fields(IngestOutputs)})
        if not (root / "features").exists():
            root.mkdir(parents=True, exist_ok=True)
            ingest(self.source if self.mapping is None else str(self._once(root)), outputs, size, self.mapping)
            build(outputs.events, outputs.items, root / "features", FeatureOptions.for_size(size_named(size)))
        return root / "features"

    def earlier(self, root: Path, size: str) -> Path:
        """As `features`, of the events before their test window alone, whose own test window is their validation.

        What is chosen between settings on it has not seen the labels that results are reported on.
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
        """The file without the rows that its two yearly sheets both hold."""
        table = pq.read_table(self.source)
        again = table["is_sheet_overlap"].to_numpy()
        pq.write_table(table.take(np.flatnonzero(~again)), root / "source.parquet")
        return root / "source.parquet"


def go_on(root: Path, settings: dict[str, Any]) -> None:
    """Note what a measurement's folder was begun with; what lies there is taken over only with the same settings.

    Raises:
        InputError: it was begun with others.
    """
    path = root / "settings.json"
    if path.exists() and (before := read_json(path)) != settings:
        raise InputError(f"{root} was begun with {before}, not with {settings}", "name another --out, or remove it")
    write_json(path, settings)


def shops(data: Path | None) -> list[Shop]:
    """Every shop there is.

    Args:
        data: Folder that holds online_retail_ii/online_retail_ii.parquet; None: without that shop.

    Raises:
        InputError: the folder lacks it.
    """
    found = [Shop(name="Complete Journey", source="complete-journey")]
    if data is not None:
        retail = data / "online_retail_ii" / "online_retail_ii.parquet"
        if not retail.exists():
            raise InputError(f"--data: {retail} does not exist", "name the folder that holds the data sets")
        found.append(Shop(name="Online Retail II", source=str(retail), mapping=RETAIL))
    return found


def shop_arguments(description: str | None, out: Path) -> argparse.ArgumentParser:
    """What a comparison on every shop asks for: data, out, size, seeds and results.

    Args:
        description: Of the command.
        out: Folder of its results by default.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, help="holds online_retail_ii/online_retail_ii.parquet; else one shop")
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--size", default="small")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=Path("tests/benchmarks/quality/results"))
    return parser
