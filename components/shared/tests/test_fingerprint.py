"""The fingerprint of files changes with what they hold, and with nothing else."""

import os

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from components.shared.errors import InputError
from components.shared.fingerprint import files_below, fingerprint


@pytest.fixture
def folder(tmp_path):
    for name, text in (("b.csv", "1,2\n"), ("deep/a.csv", "3\n")):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "data"


def test_unchanged_files_have_one_fingerprint_under_both_forms_of_the_path(folder):
    assert fingerprint(str(folder)) == fingerprint(f"file://{folder}") == fingerprint("", str(folder))
    assert len(fingerprint(str(folder))) == 32
    assert fingerprint() == fingerprint("", "") == ""


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "c.csv").write_text(""),
        lambda folder: (folder / "b.csv").unlink(),
        lambda folder: (folder / "b.csv").rename(folder / "z.csv"),
        lambda folder: (folder / "b.csv").write_text("1,2\n3,4\n"),
        lambda folder: os.utime(folder / "b.csv", (1, 1)),
    ],
)
def test_every_change_shows(folder, change):
    before = fingerprint(str(folder))
    change(folder)
    assert fingerprint(str(folder)) != before


def test_order_of_the_uris_matters_and_their_files_do_not_mix(folder):
    one, other = str(folder / "b.csv"), str(folder / "deep")
    assert len({fingerprint(one), fingerprint(other), fingerprint(one, other), fingerprint(other, one)}) == 4


def test_a_file_system_that_tells_no_version_never_looks_unchanged(monkeypatch):
    fsspec.filesystem("memory").pipe("/shop/events.csv", b"a\n")
    monkeypatch.setattr(MemoryFileSystem, "created", None)
    assert fingerprint("memory://shop/events.csv") != fingerprint("memory://shop/events.csv")


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.binary(max_size=5), min_size=1, max_size=4))
def test_listing_has_every_file_sorted(files):
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    for name, content in files.items():
        filesystem.pipe(f"/all/{name}", content)
    _, found = files_below("memory://all")
    assert {path.rsplit("/", 1)[-1]: details["size"] for path, details in found.items()} == {
        name: len(content) for name, content in files.items()
    }
    assert list(found) == sorted(found)


def test_what_is_missing_or_unknown_is_named(tmp_path):
    with pytest.raises(InputError, match=f"'{tmp_path}/none' does not exist or is empty"):
        fingerprint(f"{tmp_path}/none")
    with pytest.raises(InputError, match="fingerprint of 'nosuch://x' cannot be opened"):
        fingerprint("nosuch://x")
