"""The audit log: all tampering is detected, and a crash between its two files is not mistaken for tampering."""

import json
import shutil
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.errors import AuditError, InputError
from components.shared.release.audit import AuditLog
from components.shared.release.documents import FolderDocuments


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    log = AuditLog(FolderDocuments(tmp_path_factory.mktemp("log")))
    for number in range(6):
        log.append("promote", version=f"v{number}", note="燕麦")
    return log


def tampered(written, folder, change):
    """A copy of the log with `change` applied to its lines."""
    folder.mkdir(exist_ok=True)
    copy = AuditLog(FolderDocuments(folder))
    shutil.copy(written.location.with_suffix(".head"), copy.location.with_suffix(".head"))
    lines = written.location.read_text().splitlines()
    copy.location.write_text("".join(line + "\n" for line in change(lines)))
    return copy


def test_entries_are_complete_and_verify(written):
    assert written.verify() == 6
    entries = written.entries()
    assert [entry["version"] for entry in entries] == [f"v{number}" for number in range(6)]
    assert all(entry["who"] and entry["when"].endswith("+00:00") for entry in entries)
    assert written.verify(head=entries[-1]["hash"]) == 6
    with pytest.raises(AuditError, match="ends with"):
        written.verify(head=entries[-2]["hash"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:2], lines[2].replace("v2", "v9"), *lines[3:]], "line 3 was changed"),
        (lambda lines: [*lines[:2], *lines[3:]], "line 3: its number is 4"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "line 2: its number is 3"),
        (lambda lines: [*lines, lines[-1]], "line 7: its number is 6"),
        (lambda lines: lines[:-1], "has 5 lines but its head is of line 6"),
        (lambda lines: [], "has 0 lines but its head is of line 6"),
        (lambda lines: [*lines[:3], "{", *lines[4:]], "line 4 is not JSON"),
        (lambda lines: [*lines[:3], "[]", *lines[4:]], "line 4 is not an object"),
    ],
    ids=["changed", "removed", "reordered", "repeated", "truncated", "emptied", "broken", "replaced"],
)
def test_tampering_is_detected(written, tmp_path, change, message):
    with pytest.raises(AuditError, match=message):
        tampered(written, tmp_path / "log", change).verify()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_changed_character_is_detected(written, tmp_path_factory, data):
    text = written.location.read_text()
    number = data.draw(st.integers(0, len(text) - 2))
    letter = data.draw(st.sampled_from('0aZ}"燕 '))
    changed = text[:number] + letter + text[number + 1 :]
    same = [json.loads(line) for line in text.splitlines()]
    try:
        if [json.loads(line) for line in changed.splitlines()] == same:
            return
    except json.JSONDecodeError:
        pass
    with pytest.raises(AuditError):
        tampered(written, tmp_path_factory.mktemp("log") / "log", lambda _: changed.splitlines()).verify()


def test_rewritten_chain_is_detected_with_a_separately_stored_head(written, tmp_path):
    forged = AuditLog(FolderDocuments(tmp_path))
    for entry in written.entries()[:5]:
        forged.append("promote", version=entry["version"])
    assert forged.verify() == 5
    with pytest.raises(AuditError, match="ends with"):
        forged.verify(head=written.entries()[-1]["hash"])


def test_stale_head_after_a_crash_is_repaired_by_the_next_append(written, tmp_path):
    log = AuditLog(FolderDocuments(tmp_path))
    log.append("add")
    old = log.location.with_suffix(".head").read_text()
    log.append("promote")
    log.location.with_suffix(".head").write_text(old)
    assert log.verify() == 2
    log.append("rollback")
    assert log.verify() == 3


def test_appending_to_a_truncated_log_is_refused(written, tmp_path):
    truncated = tampered(written, tmp_path / "log", lambda lines: lines[:-2])
    with pytest.raises(AuditError, match="has 4 lines"):
        truncated.append("promote")


def test_concurrent_writers_produce_one_chain(tmp_path):
    def write(number):
        for _ in range(5):
            AuditLog(FolderDocuments(tmp_path)).append("promote", writer=number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert AuditLog(FolderDocuments(tmp_path)).verify() == 30


def test_unwritable_path_raises_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        AuditLog(FolderDocuments(tmp_path / "file")).append("add")
