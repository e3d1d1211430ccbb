"""Completes an ONNX graph of token vectors: their mean over the mask, of unit length."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from components.shared.errors import InputError
from components.shared.text.encoder import INPUTS, OUTPUT

_PREFIX = "shoprank_"
_OPTIONAL = "token_type_ids"


def with_unit_vectors(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The graph with the output OUTPUT, float32 [texts, dim] of unit length, and dim.

    Its first output is taken: vectors of texts, or of tokens, whose mean is taken. An input token_type_ids becomes 0.

    Raises:
        InputError: the output's rank or last dimension is not known, or there are other inputs.
    """
    graph, first = model.graph, model.graph.output[0]
    shape = [one.dim_value for one in first.type.tensor_type.shape.dim]
    if len(shape) not in (2, 3) or not shape[-1]:
        raise InputError(f"the first output '{first.name}' of the graph has the shape {shape}",
                         "export it with [texts, dim] or [texts, tokens, dim], dim as a number")  # fmt: skip
    others = {one.name for one in graph.input} - {*INPUTS, _OPTIONAL}
    if others:
        raise InputError(f"the graph has the input '{min(others)}'", f"export it with {' and '.join(INPUTS)}")
    nodes, constants = [], []
    if any(one.name == _OPTIONAL for one in graph.input):
        nodes.append(helper.make_node("Sub", [INPUTS[0], INPUTS[0]], [_OPTIONAL]))
        kept = [one for one in graph.input if one.name != _OPTIONAL]
        del graph.input[:]
        graph.input.extend(kept)
    after, vector = [], first.name
    if len(shape) == 3:
        constants += [_constant("last", [-1]), _constant("tokens", [1]), _constant("one", 1.0)]
        after = [
            helper.make_node("Cast", [INPUTS[1]], [f"{_PREFIX}mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", [f"{_PREFIX}mask", f"{_PREFIX}last"], [f"{_PREFIX}wide"]),
            helper.make_node("Mul", [first.name, f"{_PREFIX}wide"], [f"{_PREFIX}masked"]),
            helper.make_node("ReduceSum", [f"{_PREFIX}masked", f"{_PREFIX}tokens"], [f"{_PREFIX}sum"], keepdims=0),
            helper.make_node("ReduceSum", [f"{_PREFIX}wide", f"{_PREFIX}tokens"], [f"{_PREFIX}count"], keepdims=0),
            helper.make_node("Max", [f"{_PREFIX}count", f"{_PREFIX}one"], [f"{_PREFIX}least"]),
            helper.make_node("Div", [f"{_PREFIX}sum", f"{_PREFIX}least"], [f"{_PREFIX}mean"]),
        ]
        vector = f"{_PREFIX}mean"
    after.append(helper.make_node("LpNormalization", [vector], [OUTPUT], axis=-1, p=2))
    whole = [*nodes, *graph.node, *after]
    del graph.node[:], graph.output[:]
    graph.node.extend(whole)
    graph.initializer.extend(constants)
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["texts", shape[-1]]))
    return model, shape[-1]


def _constant(name: str, value: list[int] | float) -> onnx.TensorProto:
    kind = np.int64 if isinstance(value, list) else np.float32
    return numpy_helper.from_array(np.array(value, kind), f"{_PREFIX}{name}")
