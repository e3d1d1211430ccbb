"""A small ONNX encoder of known words: those of one group have nearly the same vector, others nothing in common."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

GROUPS = (
    ("sofa", "couch", "settee"), ("bicycle", "bike", "cycle"), ("laptop", "notebook", "computer"), ("red", "crimson"),
    ("pen", "fountain"), ("oak", "ash"),
)  # fmt: skip
NEAR = 0.2


def write_model(folder: Path, *, types: bool = False, output: str = "tokens", other_input: str = "") -> Path:
    """Write model.onnx and tokenizer.json.

    Args:
        folder: Where to write.
        types: Whether the graph has an input token_type_ids.
        output: 'tokens' for a vector of each token, 'texts' for one of each text.
        other_input: Name of an input that no encoder has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", *(word for group in GROUPS for word in group)]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.zeros((len(words), len(GROUPS) + 2), np.float32)
    for number, group in enumerate(GROUPS):
        for place, word in enumerate(group):
            table[words.index(word), [number, -2]] = 1, NEAR * place
    table[1, -1] = 1
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if types else []), *filter(None, [other_input])]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in names]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["hidden"])]
    for extra in names[2:]:
        # An input that counts: any value but 0 would change every vector.
        nodes += [
            helper.make_node("Cast", [extra], [f"{extra}_f"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", [f"{extra}_f", "last"], [f"{extra}_w"]),
            helper.make_node("Add", ["hidden", f"{extra}_w"], ["hidden_with"]),
        ]
    result = "hidden_with" if names[2:] else "hidden"
    shape: list[str | int] = ["texts", "tokens", table.shape[1]]
    if output == "texts":
        nodes.append(helper.make_node("ReduceMax", [result, "second"], ["found"], keepdims=0))
        result, shape = "found", ["texts", table.shape[1]]
    constants = {"table": table, "last": np.array([-1]), "second": np.array([1])}
    graph = helper.make_graph(
        nodes, "words", inputs, [helper.make_tensor_value_info(result, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
              str(folder / "model.onnx"))  # fmt: skip
    return folder
