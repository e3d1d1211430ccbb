"""Real shops from raw files to features: rows in both sheets of a file are counted once."""

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from components.shared.errors import InputError
from components.shared.schema.timeline import Timeline
from tests.benchmarks.quality.shops import go_on, shops


def retail_file(folder, rows=3_000):
    """Write a file in the layout of Online Retail II whose last tenth of rows repeats the first."""
    random = np.random.default_rng(0)
    first = np.datetime64("2010-12-01T00:00:00", "ms").astype(np.int64)
    lines = {
        "invoice": np.char.add("5", np.arange(rows).astype(str)),
        "stock_code": np.char.add("code", random.integers(1, 40, rows).astype(str)),
        "description": np.full(rows, "candle"),
        "quantity": random.integers(1, 5, rows).astype(np.int32),
        "invoice_ts": (first + random.integers(0, 200 * 86_400, rows) * 1_000).astype("datetime64[ms]"),
        "unit_price": random.integers(1, 9, rows) / 2,
        "customer_id": random.integers(1, 80, rows).astype(float),
        "is_sheet_overlap": np.arange(rows) >= rows - rows // 10,
    }
    for values in lines.values():
        values[rows - rows // 10 :] = values[: rows // 10] if values.dtype != bool else True
    path = folder / "online_retail_ii" / "online_retail_ii.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table(lines), path)


def test_rows_in_both_sheets_are_counted_once(tmp_path):
    retail_file(tmp_path)
    shop = shops(tmp_path)[1]
    root = tmp_path / shop.folder
    features = shop.features(root, "tiny")
    assert root.name == "online-retail-ii" and features == root / "features"
    events = ds.dataset(root / "events").to_table()
    assert len(events) == 2_700 and set(events["event_type"].to_pylist()) == {"purchase"}
    assert Timeline.read(features / "timeline.json").test > 0
    modified = (features / "spec.json").stat().st_mtime_ns
    assert shop.features(root, "tiny") == features and (features / "spec.json").stat().st_mtime_ns == modified, "kept"


def test_earlier_features_end_where_the_test_window_begins(tmp_path):
    retail_file(tmp_path)
    shop = shops(tmp_path)[1]
    root = tmp_path / shop.folder
    earlier = shop.earlier(root, "tiny")
    whole, cut = (Timeline.read(folder / "timeline.json") for folder in (root / "features", earlier))
    assert cut.end <= whole.test < cut.end + 86_400 and cut.start == whole.start
    assert abs(cut.test - whole.validation) <= 0.2 * whole.horizon, "the window before is the one that is judged on"
    timestamps = np.load(earlier / "history" / "timestamp.npy")
    every = np.load(root / "features" / "history" / "timestamp.npy")
    assert len(timestamps) == (every < whole.test).sum() < len(every) and timestamps.max() < whole.test
    assert sorted(path.name for path in root.iterdir() if path.is_dir()) == [
        "earlier", "events", "features", "items", "rejected", "users"
    ]  # fmt: skip
    modified = (earlier / "spec.json").stat().st_mtime_ns
    assert shop.earlier(root, "tiny") == earlier and (earlier / "spec.json").stat().st_mtime_ns == modified, "kept"


def test_measurement_is_resumed_only_with_the_same_settings(tmp_path):
    go_on(tmp_path / "shop", {"size": "small", "trials": 20})
    go_on(tmp_path / "shop", {"trials": 20, "size": "small"})
    with pytest.raises(InputError, match=r"begun with .*'small'.*, not with .*'full'"):
        go_on(tmp_path / "shop", {"size": "full", "trials": 20})
