"""Atomic writes: files and folders appear under their name only when complete, with modes that no umask widens.

Kubeflow Pipelines runs steps with umask 0, which would make every file writable for every user of a shared volume.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.shared.errors import InputError

READABLE, PRIVATE = 0o644, 0o600
"""Modes of files that others read, and of keys."""
_FOLDER = 0o755


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents, mode 0755 whatever the umask is.

    Raises:
        OSError: a parent is a file or not writable.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir()
    except FileExistsError:
        # Another process was faster, or it is a file.
        if not path.is_dir():
            raise
        return
    path.chmod(_FOLDER)


def make_readable(folder: Path) -> None:
    """Set the modes of a folder's contents to 0755 and 0644, so that only their owner can change them."""
    folder.chmod(_FOLDER)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(_FOLDER if path.is_dir() else READABLE)


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; rename it to `path` on success, remove it on failure.

    An existing `path` is replaced, because a retried pipeline step writes the same output again.

    Raises:
        InputError: the disk is full or the parent cannot be written.
    """
    temporary = path.parent / f".{path.name}.partial-{os.getpid()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        temporary.rename(path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}",
            "free space or choose another folder; no partial output was left",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str, mode: int = READABLE) -> None:
    """Write `text` to a temporary name beside `path`, flush it to disk, then rename.

    Args:
        path: The file.
        text: Its content, written as UTF-8.
        mode: Mode of the file, set before anything is written.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    write_bytes(path, text.encode(), mode)


def write_bytes(path: Path, content: bytes, mode: int = READABLE) -> None:
    """Write `content` as `write_text` does.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    temporary = path.parent / f".{path.name}.partial-{os.getpid()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"cannot write {path}: {error.strerror or error}",
            "free space or choose another folder; no partial output was left",
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        InputError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", "run the stage that writes it first") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON: {error}", "write it again with the stage that made it") from error
