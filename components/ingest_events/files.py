"""The files of a source: which are read, and which are left out and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from components.ingest_events.opening import named
from components.shared.errors import InputError
from components.shared.fingerprint import files_below

_FORMATS = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".tsv"),
    "json": (".jsonl", ".ndjson", ".json"),
}
_COMPRESSIONS = (".gz", ".gzip", ".bz2", ".xz", ".zst", ".zstd", ".snappy")
"""Endings after that of the format; text is recognised by its first bytes, Parquet compresses itself."""

_HIDDEN = "name begins with '_' or '.'"
_OTHER = "no .parquet, .csv, .tsv or .jsonl file"
_LOST = "link to a file that does not exist"


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source.

    Attributes:
        filesystem: of fsspec. chosen: path -> format (parquet, csv, json), sorted by path.
        skipped: path -> reason.
        sizes: path -> bytes.
    """

    filesystem: Any
    chosen: Mapping[str, str]
    skipped: Mapping[str, str]
    sizes: Mapping[str, int]


def source_files(uri: str, what: str = "source") -> SourceFiles:
    """List the files of a file, folder, URI or glob.

    A folder may have other files: hidden ones, whose name or folder begins with '_' or '.', such as markers and
    temporary files of Spark, those of other formats, and links to nothing. A file that is named itself is read whatever
    its name begins with.

    Args:
        uri: File, folder, URI or glob.
        what: What errors call it.

    Raises:
        InputError: there is no file to read, or the URI cannot be opened.
    """
    filesystem, details = files_below(uri)
    root = str(filesystem._strip_protocol(uri)).rstrip("/")
    chosen: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for path in details:
        inside = PurePosixPath(path[len(root) :] if path.startswith(root) else path.rsplit("/", 1)[-1])
        kind = format_of(path)
        if any(part.startswith(("_", ".")) for part in inside.parts):
            skipped[path] = _HIDDEN
        elif not kind:
            skipped[path] = _OTHER
        elif details[path].get("islink") and not Path(path).exists():
            skipped[path] = _LOST
        else:
            chosen[path] = kind
    if not chosen:
        there = bool(details) or named(uri, lambda: filesystem.exists(uri))
        raise _nothing(uri, what, there, skipped)
    sizes = {path: int(details[path].get("size") or 0) for path in chosen}
    return SourceFiles(filesystem, chosen, skipped, sizes)


def _nothing(uri: str, what: str, there: bool, skipped: Mapping[str, str]) -> InputError:
    names = ", ".join(path.rsplit("/", 1)[-1] for path in list(skipped)[:5]) or "nothing"
    wrong = f"has {_OTHER}" if there else "does not exist"
    demo = "'complete-journey', or " if what == "source" else ""
    return InputError(
        f"{what} '{uri}' {wrong}", f"give {demo}a file, folder, URI or glob with such files; found there: {names}"
    )


def format_of(path: str) -> str:
    """Format of a file by its ending, '' for none that is read."""
    name = path.lower()
    while name.endswith(_COMPRESSIONS):
        name = name.rpartition(".")[0]
    return next((kind for kind, endings in _FORMATS.items() if name.endswith(endings)), "")


def path_columns(path: str) -> dict[str, str | None]:
    """Columns in the folders of a path, as Hive and Spark write them: `event_type=view/dt=2024-01-01/x.parquet`."""
    found: dict[str, str | None] = {}
    for part in path.split("/")[:-1]:
        name, equals, value = part.partition("=")
        if equals and name:
            text = unquote(value)
            found[unquote(name)] = None if text == "__HIVE_DEFAULT_PARTITION__" else text
    return found
