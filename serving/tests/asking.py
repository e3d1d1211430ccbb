"""Requests to a running predictor over V1 and V2, and to an engine."""

from serving.protocol import parse_instance

PREDICT, INFER = "/v1/models/shoprank:predict", "/v2/models/shoprank/infer"


def one(http, **request):
    """Answer to one V1 instance."""
    answer = http.post(PREDICT, json={"instances": [request]})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]


def ask(engine, **request):
    """Answer of an engine to one instance."""
    return engine.answer([parse_instance(request)], ["test"])[0]


def ids(answer):
    """Item ids of an engine's answer."""
    return [item.item_id for item in answer.items]


def tensor(name, values, datatype="BYTES"):
    """A V2 input tensor with one value per row."""
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": values}


def outputs(answer):
    """Values of a V2 answer by output."""
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}
