"""Arrays of JSON that were cut short, and objects without line breaks between them."""

import pytest

from components.ingest_events.readers import chunks
from components.ingest_events.tests.ingesting import ingest_text
from components.shared.errors import InputError

ROW = '{"user_id": "u1", "item_id": "a", "event_type": "view", "timestamp": "2024-03-01", "query": "a [b] }x{, ]"}'


@pytest.mark.parametrize("block", [20, chunks.BLOCK_CHARACTERS])
@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (f"[{ROW},{ROW},", "ends within an array"), (f"[{ROW},{ROW}", "ends within an array"),
        (f"[\n{ROW},\n{ROW}\n", "ends within an array"), (f"[{ROW}][\n{ROW}", "ends within an array"),
        (f"[{ROW}]],,,[{ROW}", "ends an array that it does not begin"),
        (f"[{ROW}]\n]\n[{ROW}]", "ends an array that it does not begin"), ("[[]", "ends within an array"),
    ],
)  # fmt: skip
def test_an_array_cut_at_an_object_is_refused(tmp_path, monkeypatch, block, text, wrong):
    monkeypatch.setattr(chunks, "BLOCK_CHARACTERS", block)
    with pytest.raises(InputError, match=f"e.json {wrong}") as refusal:
        ingest_text(tmp_path, text, "e.json")
    assert "truncated" in refusal.value.fix


@pytest.mark.parametrize("text", [f"[{ROW}]\n[\n{ROW}]", f"[{ROW}][{ROW}]", f"[[{ROW}], [{ROW},],]"])
def test_several_arrays_are_read(tmp_path, text):
    assert ingest_text(tmp_path, text, "e.json").events == 2


@pytest.mark.parametrize("text", [ROW * 3, f"{ROW} {ROW}\n{ROW}", f"{ROW}\n\n{ROW}{ROW} \n", f"{ROW}\n{ROW}" + ROW])
def test_objects_without_line_breaks_between_them_are_rows(tmp_path, text):
    summary = ingest_text(tmp_path, text, "e.json")
    assert (summary.events, summary.rejected_rows) == (3, 0)


def test_what_follows_the_last_object_of_a_line_is_rejected(tmp_path):
    text = f'{ROW}{ROW}{{"user_id": \n{ROW}\n}}{{ no\n'
    summary = ingest_text(tmp_path, text, "e.json")
    assert (summary.events, summary.rejected["events"]) == (3, {"line is malformed": 2})
