"""Strategies of Hypothesis for V2 binary bodies and gRPC messages: near to valid ones, and far from them."""

import json
import struct

from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from serving.protocol import V2_INPUTS

TYPES = ("BYTES", "INT64", "INT32", "UINT8", "FP32", "FP64", "FP16", "BF16", "BOOL", "STRING", "")
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=8,
)  # fmt: skip
_NAMES = st.one_of(st.sampled_from(tuple(V2_INPUTS)), st.text(max_size=12))
_SHAPES = st.one_of(
    st.sampled_from(([1], [1, 1], [2], [0], [])), st.lists(st.integers(-(2**40), 2**62), max_size=4), _JSON
)
_VALUES = st.one_of(
    st.sampled_from(("ann", "milk", "{}", "[]", '["oat"]', '{"price_max": 3}', "price", "", "\ud800")),
    st.text(max_size=40), st.integers(-(2**70), 2**70), st.floats(), st.booleans(), _JSON,
)  # fmt: skip


def packed_bytes(values):
    """BYTES of V2: each after its length."""
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


_RAW = st.one_of(
    st.binary(max_size=64), st.lists(st.binary(max_size=12), max_size=3).map(packed_bytes),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3).map(lambda found: struct.pack(f"<{len(found)}q", *found)),
)  # fmt: skip


GOOD = {
    "user_id": "ann", "query": "milk", "k": 3, "timestamp": 1_700_000_000, "filters": '{"price_max": 3}',
    "history": "[]", "exclude": '["oat"]', "verbatim": True, "diversity": 0.5, "similar_to": "oat",
    "bought_with": '["oat"]', "more_like": "oat", "facets": '["price"]', "sort": "price", "cursor": "", "suggest": "mi",
}  # fmt: skip
"""A valid value of every input."""


def _packed(datatype, value):
    """A value of a valid input as binary data."""
    match datatype:
        case "BYTES":
            return packed_bytes([value.encode()])
        case "INT64":
            return struct.pack("<q", value)
        case "FP32":
            return struct.pack("<f", value)
    return struct.pack("<?", value)


def _mutations(draw, kinds):
    """Which parts of an input are garbage: none in a quarter of the cases, mostly one or two."""
    return draw(st.sets(st.sampled_from(kinds), max_size=3)) if draw(st.integers(0, 3)) else set()


@st.composite
def binary_bodies(draw):
    """(body, headers) of POST /v2/models/NAME/infer."""
    garbled = _mutations(draw, ("name", "datatype", "shape", "value", "size", "data", "field", "outputs", "parameters",
                                "id", "length", "body", "type"))  # fmt: skip

    def part(kind, right, wrong):
        return draw(wrong) if kind in garbled else right

    inputs, raw = [], b""
    for known in draw(st.lists(st.sampled_from(tuple(V2_INPUTS)), min_size=1, max_size=3, unique=True)):
        packed = part("value", _packed(V2_INPUTS[known], GOOD[known]), _RAW)
        tensor = {
            "name": part("name", known, _NAMES), "datatype": part("datatype", V2_INPUTS[known], st.sampled_from(TYPES)),
            "shape": part("shape", [1], _SHAPES),
            "parameters": {"binary_data_size": part("size", len(packed), st.integers(-10, 2**40) | _JSON)},
        }  # fmt: skip
        if "data" in garbled:
            tensor["data"] = draw(st.lists(_VALUES, max_size=3) | _JSON)
        if "field" in garbled:
            del tensor[draw(st.sampled_from(tuple(tensor)))]
        inputs.append(tensor)
        raw += packed
    outputs = [{"name": "item_id", "parameters": {"binary_data": True}}]
    asked = st.fixed_dictionaries({"binary_data": _JSON})
    odd = st.lists(st.fixed_dictionaries({"name": _JSON | st.just("item_id"), "parameters": _JSON | asked}), max_size=2)
    whole = {"id": part("id", "q1", _JSON), "inputs": inputs, "outputs": part("outputs", outputs, _JSON | odd),
             "parameters": part("parameters", {"binary_data_output": True}, _JSON)}  # fmt: skip
    header = json.dumps(whole).encode()
    length = part("length", str(len(header)), st.one_of(
        st.integers(-5, 5).map(lambda more: str(len(header) + more)),
        st.sampled_from(("", "x", "1e3", "-1", "9" * 30, "0", "0x10", "1_0")),
    ))  # fmt: skip
    body = part("body", header + raw, st.one_of(
        st.just(header + raw + b"\0"), st.integers(1, 40).map(lambda less: (header + raw)[:-less]),
        st.binary(max_size=60)
    ))  # fmt: skip
    kinds = st.sampled_from(("application/json", "text/plain", "", "application/cloudevents+json"))
    return body, {"inference-header-content-length": length,
                  "content-type": part("type", "application/octet-stream", kinds)}  # fmt: skip


_FIELDS = {
    "bytes_contents": st.binary(max_size=30), "int64_contents": st.integers(-(2**63), 2**63 - 1),
    "int_contents": st.integers(-(2**31), 2**31 - 1), "uint_contents": st.integers(0, 2**32 - 1),
    "uint64_contents": st.integers(0, 2**64 - 1), "fp32_contents": st.floats(width=32), "fp64_contents": st.floats(),
    "bool_contents": st.booleans(),
}  # fmt: skip
_NATURAL = {"BYTES": "bytes_contents", "INT64": "int64_contents", "BOOL": "bool_contents", "FP32": "fp32_contents"}
_PROTO_SHAPES = st.one_of(
    st.sampled_from(([1, 1], [2], [0], [], [-1])), st.lists(st.integers(-(2**40), 2**62), max_size=3)
)
_PROTO_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@st.composite
def infer_messages(draw):
    """Bytes for ModelInfer: of a message, or of a damaged one."""
    garbled = _mutations(
        draw, ("model", "name", "datatype", "shape", "value", "field", "raw", "outputs", "bytes", "more")
    )

    def part(kind, right, wrong):
        return draw(wrong) if kind in garbled else right

    message = pb.ModelInferRequest(model_name=part("model", "shoprank", _PROTO_TEXT), id=draw(_PROTO_TEXT))
    for known in draw(st.lists(st.sampled_from(tuple(V2_INPUTS)), min_size=1, max_size=3, unique=True)):
        tensor = message.inputs.add(
            name=part("name", known, _PROTO_TEXT), datatype=part("datatype", V2_INPUTS[known], st.sampled_from(TYPES)),
            shape=part("shape", [1], _PROTO_SHAPES),
        )  # fmt: skip
        natural, value = _NATURAL[V2_INPUTS[known]], GOOD[known]
        chosen = part("field", natural, st.sampled_from(tuple(_FIELDS)))
        right = [value.encode() if isinstance(value, str) else value] if chosen == natural else []
        getattr(tensor.contents, chosen).extend(part("value", right, st.lists(_FIELDS[chosen], max_size=3)))
    if "raw" in garbled:
        message.raw_input_contents.extend(draw(st.lists(_RAW, max_size=3)))
        for tensor in message.inputs if draw(st.booleans()) else ():
            tensor.ClearField("contents")
    if "outputs" in garbled:
        message.outputs.add(name=draw(_PROTO_TEXT))
        message.parameters["binary_data_output"].bool_param = True
    if "more" in garbled:
        message.model_version = draw(_PROTO_TEXT)
    content = message.SerializeToString()
    return part("bytes", content, st.one_of(st.just(content[:-1]), st.just(content + b"\xff"), st.binary(max_size=80)))


GRPC_METHODS = st.sampled_from((
    "ModelInfer", "ModelInfer", "ModelInfer", "ModelInfer", "ModelInfer", "ModelInfer", "ServerMetadata", "ServerLive",
    "ServerReady", "ModelReady", "ModelMetadata", "RepositoryModelLoad", "RepositoryModelUnload", "Nothing",
))  # fmt: skip
METADATA = st.lists(
    st.tuples(st.sampled_from(("x-request-id", "authorization", "x-api-key", "x-shoprank-shadow", "a-bin")),
              st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)), max_size=2,
)  # fmt: skip
