"""Content vectors in the feature folder: read, completed and refused."""

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


def test_vectors_keep_their_items_and_gaps_are_told(shop, built_from):
    given_vectors = {"i00": [3.0, 4.0], "i01": [0.0, 0.0], "i02": [], "i39": [-1e30, 0.0]}
    for item in shop.items:
        item["content_vector"] = given_vectors.get(item["item_id"])
    made = built_from(shop)
    assert made.spec.content_dim == 2
    row, content = made.catalog.row_of, made.catalog.content
    rows = np.array([row["i00"], row["i39"], row["i01"], row["i02"], row["i03"], 0])
    wanted = [[0.6, 0.8, 1], [-1, 0, 1], *[[0, 0, 0]] * 4]
    np.testing.assert_allclose(content.inputs(rows), np.array(wanted, np.float32), rtol=1e-6)


def test_a_shop_without_vectors_has_no_column_for_them(built):
    assert built.spec.content_dim == 0 and built.catalog.content is None
    assert "content_vector" not in pq.read_schema(built.folder / "items.parquet").names


def test_items_of_another_tool_may_lack_the_column(shop, tmp_path, built_from):
    events, items = shop.write(tmp_path)
    for path in items.iterdir():
        pq.write_table(pq.read_table(path).drop_columns("content_vector"), path)

    class Written:
        def write(self, _):
            return events, items

    assert built_from(Written()).spec.content_dim == 0


@pytest.mark.parametrize(
    ("vector", "said"),
    [([1.0], "item 'i07' has 1 numbers, most .39 items. have 3"),
     ([1.0, float("inf"), 0.0], "item 'i07' has a value that is not a finite number"),
     ([1.0, None, 0.0], "item 'i07' has a value that is not a finite number")],
)  # fmt: skip
def test_a_vector_that_does_not_fit_is_named_with_its_item(shop, built_from, vector, said):
    for item in shop.items:
        item["content_vector"] = vector if item["item_id"] == "i07" else [0.1, 0.2, 0.3]
    with pytest.raises(DataError, match=said) as caught:
        built_from(shop)
    assert caught.value.headline.startswith("items.content_vector: ") and "null" in caught.value.fix


@settings(deadline=None)
@given(st.integers(1, 5).flatmap(lambda dim: st.lists(
    st.none() | st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=dim, max_size=dim)
    | st.just([]), max_size=8).map(lambda rows: (dim, rows))))  # fmt: skip
def test_inputs_have_length_one_or_are_zeros(case):
    dim, rows = case
    content = ContentVectors.from_arrow(pa.array(rows, pa.list_(pa.float32())), dim)
    found = content.inputs(np.arange(len(rows)))
    assert found.dtype == np.float32 and found.shape == (len(rows), dim + 1)
    for vector, one in zip(rows, found.astype(np.float64), strict=True):
        there = vector is not None and any(vector)
        assert one[-1] == there
        assert np.linalg.norm(one[:-1]) == pytest.approx(float(there), abs=1e-6)
        if there:
            biggest = int(np.argmax(np.abs(vector)))
            assert np.sign(one[biggest]) == np.sign(vector[biggest])


def test_a_spec_of_the_format_before_is_read_and_others_are_refused(built, tmp_path):
    raw = json.loads((built.folder / "spec.json").read_text())
    del raw["content_dim"]
    (tmp_path / "spec.json").write_text(json.dumps({**raw, "format_version": 2}))
    old = FeatureSpec.read(tmp_path / "spec.json")
    assert old.content_dim == 0 and len(Catalog.read(built.folder / "items.parquet", old)) == len(built.catalog)
    for version in (1, 4):
        (tmp_path / "spec.json").write_text(json.dumps({**raw, "format_version": version}))
        with pytest.raises(BundleError, match=f"feature spec format {version}, this shoprank version reads"):
            FeatureSpec.read(tmp_path / "spec.json")
