"""Changes of a bundle (see rollout_shop.version_of) that its golden requests do not show: slow answers, and errors."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

WIDTH, LAYERS = 2048, 150


def oversized(folder):
    """A ranker of many wide layers more, which hardly change its answers."""
    path = folder / "ranker" / "ranker.onnx"
    model = onnx.load(path)
    graph = model.graph
    random, dense = np.random.default_rng(7), next(one for one in graph.initializer if one.name == "weight").dims[0]
    wide = {
        "widen": random.normal(size=(dense, WIDTH)), "layer": random.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5,
        "narrow": random.normal(size=(WIDTH, 2)) * 1e-6,
    }  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(value.astype(np.float32), name) for name, value in wide.items())
    names = ["dense", *(f"wide{at}" for at in range(LAYERS + 1)), "more"]
    weights = ["widen", *["layer"] * LAYERS, "narrow"]
    further = [
        helper.make_node("MatMul", [given, weight], [made])
        for given, weight, made in zip(names, weights, names[1:], strict=False)
    ]
    first = graph.node[0]
    first.output[0] = "short"
    nodes = [first, *further, helper.make_node("Add", ["short", "more"], ["logit"]), *graph.node[1:]]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, path)


def older_vocabulary(folder):
    """A user tower whose table ends before the newest items: it fails for shoppers who have bought one of them."""
    path = folder / "retriever" / "user.onnx"
    model = onnx.load(path)
    table = next(one for one in model.graph.initializer if one.name == "table")
    table.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(table)[:8], "table"))
    onnx.save(model, path)


WHO_BOUGHT_NEW = {"user_id": "bob", "k": 5}
"""A request that `older_vocabulary` fails at."""
