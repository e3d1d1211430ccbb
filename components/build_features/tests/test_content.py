"""Content vectors in the feature folder: reading, missing values and errors."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.errors import BundleError, DataError
from components.shared.features.catalog import Catalog
from components.shared.features.content import ContentVectors
from components.shared.features.spec import FeatureSpec


def test_vectors_are_normalized_per_item_and_missing_ones_are_flagged(shop, built_from):
    vectors = {"i00": [3.0, 4.0], "i01": [0.0, 0.0], "i02": [], "i39": [-1e30, 0.0]}
    for item in shop.items:
        item["content_vector"] = vectors.get(item["item_id"])
    built = built_from(shop)
    assert built.spec.content_dim == 2
    row, content = built.catalog.row_of, built.catalog.content
    rows = np.array([row["i00"], row["i39"], row["i01"], row["i02"], row["i03"], 0])
    expected = [[0.6, 0.8, 1], [-1, 0, 1], *[[0, 0, 0]] * 4]
    np.testing.assert_allclose(content.inputs(rows), np.array(expected, np.float32), rtol=1e-6)


def test_shop_without_vectors_has_no_vector_column(built):
    assert built.spec.content_dim == 0 and built.catalog.content is None
    assert "content_vector" not in pq.read_schema(built.folder / "items.parquet").names


def test_items_may_lack_the_vector_column(shop, tmp_path, built_from):
    events, items = shop.write(tmp_path)
    for path in items.iterdir():
        pq.write_table(pq.read_table(path).drop_columns("content_vector"), path)

    class Written:
        def write(self, _):
            return events, items

    assert built_from(Written()).spec.content_dim == 0


@pytest.mark.parametrize(
    ("vector", "message"),
    [([1.0], "item 'i07' has 1 numbers, most .39 items. have 3"),
     ([1.0, float("inf"), 0.0], "item 'i07' has a value that is not a finite number"),
     ([1.0, None, 0.0], "item 'i07' has a value that is not a finite number")],
)  # fmt: skip
def test_error_for_an_invalid_vector_names_its_item(shop, built_from, vector, message):
    for item in shop.items:
        item["content_vector"] = vector if item["item_id"] == "i07" else [0.1, 0.2, 0.3]
    with pytest.raises(DataError, match=message) as caught:
        built_from(shop)
    assert caught.value.headline.startswith("items.content_vector: ") and "null" in caught.value.fix


@settings(deadline=None)
@given(st.integers(1, 5).flatmap(lambda dim: st.lists(
    st.none() | st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=dim, max_size=dim)
    | st.just([]), max_size=8).map(lambda rows: (dim, rows))))  # fmt: skip
def test_inputs_have_unit_length_or_are_zero(case):
    dim, rows = case
    content = ContentVectors.from_arrow(pa.array(rows, pa.list_(pa.float32())), dim)
    found = content.inputs(np.arange(len(rows)))
    assert found.dtype == np.float32 and found.shape == (len(rows), dim + 1)
    for vector, one in zip(rows, found.astype(np.float64), strict=True):
        present = vector is not None and any(vector)
        assert one[-1] == present
        assert np.linalg.norm(one[:-1]) == pytest.approx(float(present), abs=1e-6)
        if present:
            biggest = int(np.argmax(np.abs(vector)))
            assert np.sign(one[biggest]) == np.sign(vector[biggest])


def test_previous_spec_format_is_read_and_others_are_refused(built, tmp_path):
    raw = json.loads((built.folder / "spec.json").read_text())
    del raw["content_dim"]
    (tmp_path / "spec.json").write_text(json.dumps({**raw, "format_version": 2}))
    old = FeatureSpec.read(tmp_path / "spec.json")
    assert old.content_dim == 0 and len(Catalog.read(built.folder / "items.parquet", old)) == len(built.catalog)
    for version in (1, 4):
        (tmp_path / "spec.json").write_text(json.dumps({**raw, "format_version": version}))
        with pytest.raises(BundleError, match=f"feature spec format {version}, this shoprank version reads"):
            FeatureSpec.read(tmp_path / "spec.json")
