"""A pipeline of one's own that loads two stages from their component files."""

import json

import pytest

from tests.journeys.journey import Journey

pytestmark = pytest.mark.slow


def test_pipeline_runs_two_stages_loaded_from_their_files(tmp_path):
    with Journey("own pipeline", tmp_path) as journey:
        printed = journey.run("components/README.md#use-a-stage-in-your-own-pipeline:python")
    found = list((tmp_path / "out/nightly").rglob("statistics.json"))
    assert len(found) == 1 and "statistics.json" in printed
    assert json.loads(found[0].read_text(encoding="utf-8"))
