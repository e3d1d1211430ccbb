"""Export of text encoders: what is written gives the model's vectors, and what is no encoder is refused."""

import json

import numpy as np
import pytest

from components.encode_text.config import EncoderOptions
from components.encode_text.export import export_encoder
from components.encode_text.tests.word_encoder import NEAR, write_model
from components.shared.errors import BundleError, InputError
from components.shared.text.encoder import RECORD, TextEncoder

WHOLE = EncoderOptions(quantise=False)


def test_sentence_transformers_model_from_a_wheel_knows_what_words_mean(minilm):
    encoder = TextEncoder.load(minilm)
    titles = ["Wireless over-ear headphones with noise cancelling", "Washing machine, 8 kg, 1400 rpm", "Garden hose"]
    found = encoder.items([*titles, "牛奶 milk", "", titles[0]])
    assert found.shape == (6, 384) and np.allclose(np.linalg.norm(found[:3], axis=1), 1, atol=1e-5)
    assert not found[3].any() and not found[4].any(), "it knows no Chinese, and an empty text means nothing"
    assert np.allclose(found[5], found[0], atol=0.02), "int8 inputs are scaled by batch"
    query = encoder.query("something to listen to music with")
    assert query is not None and int((found[:3] @ query).argmax()) == 0
    assert encoder.query("耳机") is None and encoder.query(" ") is None
    record = json.loads((minilm / RECORD).read_text())
    assert (record["dim"], record["chinese"], record["max_tokens"]) == (384, False, 64)
    assert record["scale"] == pytest.approx(1, abs=0.03), "the shipped relevance model was learned with it"
    assert sorted(path.name for path in minilm.iterdir()) == ["encoder.json", "encoder.onnx", "tokenizer.json"]
    assert sum(path.stat().st_size for path in minilm.iterdir()) < 25e6


@pytest.mark.parametrize("types", [False, True])
def test_onnx_graph_of_token_vectors_gets_their_mean_over_the_mask(tmp_path, types):
    figures = export_encoder(str(write_model(tmp_path / "model", types=types)), tmp_path / "encoder", WHOLE)
    assert figures["dim"] == 8 and figures["agreement"] == 1
    encoder = TextEncoder.load(tmp_path / "encoder")
    one, two, three = encoder.items(["sofa", "Couch", "sofa bike red bike"])
    assert np.allclose(one, [1, 0, 0, 0, 0, 0, 0, 0])
    assert np.allclose(two, np.array([1, 0, 0, 0, 0, 0, NEAR, 0]) / np.hypot(1, NEAR), atol=1e-6)
    assert np.allclose(three / three[0], [1, 2, 0, 1, 0, 0, 2 * NEAR, 0], atol=1e-5), "others in its batch are shorter"


def test_vectors_of_texts_are_taken_as_they_are(tmp_path):
    export_encoder(str(write_model(tmp_path / "model", output="texts")), tmp_path / "encoder", WHOLE)
    (found,) = TextEncoder.load(tmp_path / "encoder").items(["sofa bike"])
    assert np.allclose(found / found[0], [1, 1, 0, 0, 0, 0, NEAR, 0])


def test_text_is_cut_and_prefixed_as_the_options_say(tmp_path):
    options = EncoderOptions(quantise=False, max_tokens=8, query_prefix="red ", item_prefix="bike ")
    export_encoder(str(write_model(tmp_path / "model")), tmp_path / "encoder", options)
    encoder = TextEncoder.load(tmp_path / "encoder")
    (item,) = encoder.items(["sofa " * 7 + "laptop " * 20])
    assert item[0] > item[1] > 0 and item[2] == 0
    query = encoder.query("sofa")
    assert query is not None and query[3] > 0


def test_vocabulary_or_option_says_whether_chinese_is_known(tmp_path):
    export_encoder(str(write_model(tmp_path / "model")), tmp_path / "no", WHOLE)
    export_encoder(str(tmp_path / "model"), tmp_path / "yes", EncoderOptions(quantise=False, chinese=True))
    assert TextEncoder.load(tmp_path / "no").query("沙发 sofa") is None
    assert TextEncoder.load(tmp_path / "yes").query("沙发 sofa") is not None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "encoder 'nowhere' is no text encoder"),
        ("package:no_such_package_here", "no Python package 'no_such_package_here' is installed"),
        ("package:json", "the package holds no model that can be read"),
        ("package:../x", "no Python package"),
    ],
)
def test_what_is_no_encoder_is_refused(tmp_path, source, said):
    with pytest.raises(InputError, match=said) as error:
        export_encoder(source, tmp_path / "encoder", WHOLE)
    assert "modules.json" in error.value.fix and not list(tmp_path.iterdir())


def test_graph_with_other_inputs_or_a_damaged_one_is_refused(tmp_path):
    model = write_model(tmp_path / "model", other_input="pixels")
    with pytest.raises(InputError, match="the graph has the input 'pixels'"):
        export_encoder(str(model), tmp_path / "encoder", WHOLE)
    (model / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(InputError, match="cannot be read"):
        export_encoder(str(model), tmp_path / "encoder", WHOLE)
    with pytest.raises(BundleError, match="holds no text encoder"):
        TextEncoder.load(model)
