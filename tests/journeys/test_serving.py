"""Every request of serving/README.md, against the real predictor on the demo's model."""

import json

import pytest

from tests.journeys.blocks import blocks
from tests.journeys.journey import Journey, same_shape

pytestmark = pytest.mark.slow

README = "serving/README.md"


def shown(heading: str) -> dict:
    return json.loads(blocks()[f"{README}#{heading}:json"].text)


def test_requests_and_answers(demo, tmp_path):
    demo.copy(tmp_path)
    with Journey("serving", tmp_path) as journey:
        journey.run(f"{README}#serving:sh")
        same_shape(json.loads(journey.run(f"{README}#answer:sh")), shown("answer"))

        columns = json.loads(journey.run(f"{README}#answer:sh2"))["outputs"]
        assert {"item_id", "score", "reasons", "count"} <= {column["name"] for column in columns}

        assert len(journey.run(f"{README}#answer:python").splitlines()) == 3

        printed = journey.run(f"{README}#facets-sorts-and-pages:sh")
        assert "brand:" in printed and "price:" in printed and "next page: --cursor" in printed

        taken = json.loads(journey.run(f"{README}#events:sh"))
        assert taken == shown("events")

        explained, example = json.loads(journey.run(f"{README}#explain:sh")), shown("explain")
        assert all(one["explanations"][0]["items"][0].pop("features") for one in (explained, example))
        same_shape(explained, example)

        printed = journey.run(f"{README}#monitoring:sh")
        named = [word for word in (journey.readme(README)).split("`") if word.startswith("shoprank_")]
        assert len(named) > 10 and [name for name in named if name not in printed] == []

        request = json.dumps({"instances": [shown("request")]})
        (tmp_path / "request.json").write_text(request)
        url = f"http://127.0.0.1:{journey.port}/v1/models/shoprank:predict"
        answer = json.loads(journey.shell(f"curl -s {url} -H 'content-type: application/json' -d @request.json"))
        assert answer["predictions"][0]["items"]
