"""Golden requests: order and scores must match, but near ties may swap positions."""

import json

import pytest

from components.shared.errors import BundleError
from components.shared.release.golden import Golden, read_golden

GOLDEN = Golden({"k": 4}, ("a", "b", "c", "d"), (0.9, 0.5, 0.5002, 0.1))


@pytest.mark.parametrize(
    ("items", "scores", "expected"),
    [
        ("abcd", (0.9, 0.5, 0.5002, 0.1), ""),
        ("acbd", (0.9, 0.5002, 0.5, 0.1), ""),
        ("abce", (0.9, 0.5, 0.5002, 0.1), ""),
        ("bacd", (0.9, 0.5, 0.5002, 0.1), "item 'b' at position 1 instead of 'a'"),
        ("aecd", (0.9, 0.5, 0.5002, 0.1), "item 'e' at position 2 instead of 'b'"),
        ("abcd", (0.9, 0.5, 0.5002, 0.2), "score 0.2 at position 4 instead of 0.1"),
        ("abc", (0.9, 0.5, 0.5002), "3 items instead of 4"),
    ],
)
def test_difference_names_the_first_mismatch(items, scores, expected):
    assert GOLDEN.difference(tuple(items), scores) == expected


@pytest.mark.parametrize("content", [[], [{"request": {}}], [{"request": {}, "items": ["a"], "scores": []}], 5])
def test_files_without_golden_requests_are_refused(tmp_path, content):
    (tmp_path / "golden.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"golden\.json"):
        read_golden(tmp_path)
