"""The picture of a journey shows every step, mark and version of its record."""

import dataclasses
import json
import time

from tests.cluster.compiled_steps import Step, Values
from tests.cluster.timeline import VARIABLE, Timeline
from tests.pictures.journey import draw


class Answers:
    """Shoppers that have asked: all that a timeline looks at."""

    def __init__(self):
        self.answers: dict[str, int] = {}


def test_picture_of_a_recorded_journey(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "timeline.json"))
    timeline, shoppers = Timeline(), Answers()
    step = Step(run="first", name="train-ranker", began=time.monotonic(), ended=time.monotonic() + 2, cached=False,
                outputs=Values())  # fmt: skip
    timeline.step(step)
    timeline.step(dataclasses.replace(step, run="second", cached=True))
    with timeline.counting(shoppers):  # pyright: ignore[reportArgumentType]
        shoppers.answers |= {"v1": 3, "failed: away": 1}
        time.sleep(1.2)
        shoppers.answers |= {"v1": 5, "v2": 4}
        time.sleep(1.2)
    timeline.mark("promoted", time.time() - 1)
    timeline.write({"v1": "first", "v2": "second"})
    record = json.loads((tmp_path / "timeline.json").read_text())
    assert [(one["answers"], one["failed"]) for one in record["requests"]] == [({"v1": 3}, 1), ({"v1": 2, "v2": 4}, 0)]
    assert 1 <= record["marks"][0]["at"] <= 2
    draw(record, tmp_path / "journey.svg")
    text = (tmp_path / "journey.svg").read_text()
    for part in ("train-ranker", "promoted", "10 requests, 1 failed"):
        assert part in text
