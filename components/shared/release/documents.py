"""Small files that several processes change: each is read with a tag and replaced only if the tag is still its own.

The same compare-and-swap for a folder (FolderDocuments) and an object store (object_store.ObjectStore).
"""

import contextlib
import fcntl
import hashlib
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from components.shared.errors import InputError, RegistryError
from components.shared.storage import READABLE, make_folder, write_bytes

_ATTEMPTS, _LONGEST_S = 100, 0.4


@dataclass(frozen=True)
class Stored:
    """A document as it was read.

    Attributes:
        content: its bytes. tag: identifies this content (ETag of an object, hash of a file).
    """

    content: bytes
    tag: str


class Changed(Exception):
    """The document is no longer what was read; read it again and decide again."""


class Documents(Protocol):
    """Documents by key, a relative POSIX path."""

    def read(self, key: str) -> Stored | None:
        """Read a document; None if it does not exist."""
        ...

    def write(self, key: str, content: bytes, tag: str | None) -> None:
        """Replace the document with this tag, or create it.

        Args:
            key: The document.
            content: All of its new content.
            tag: Of the content that is replaced; None: the document must not exist.

        Raises:
            Changed: it has another tag, exists, or does not exist; after a lost connection perhaps because of this
                very call.
        """
        ...

    def remove(self, key: str) -> None:
        """Remove a document, if it exists."""
        ...

    def location(self, key: str) -> Path | str:
        """Path or URI of a document, for messages."""
        ...


class FolderDocuments:
    """Files of a folder, replaced atomically under an advisory lock, which the kernel releases if a process dies.

    Args:
        root: The folder; created by the first write.
    """

    def __init__(self, root: Path):
        self._root = root

    def read(self, key: str) -> Stored | None:
        """See Documents."""
        try:
            content = (self._root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Stored(content, hashlib.sha256(content).hexdigest())

    def write(self, key: str, content: bytes, tag: str | None) -> None:
        """See Documents."""
        path = self._root / key
        with locked(path.parent):
            present = self.read(key)
            if (present.tag if present else None) != tag:
                raise Changed(key)
            write_bytes(path, content)

    def remove(self, key: str) -> None:
        """See Documents."""
        (self._root / key).unlink(missing_ok=True)

    def location(self, key: str) -> Path:
        """See Documents."""
        return self._root / key


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is created.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        make_folder(folder)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, READABLE)
    except OSError as error:
        raise InputError(f"cannot write the registry {folder}: {error.strerror}", "choose a writable folder"
                         ) from error  # fmt: skip
    with os.fdopen(descriptor, "r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def attempts(what: Path | str) -> Iterator[None]:
    """Yield until the caller is done, with growing random pauses, because others change the same document.

    Raises:
        RegistryError: it was changed by others each time.
    """
    for attempt in range(_ATTEMPTS):
        yield
        time.sleep(random.uniform(0, min(0.01 * 2**attempt, _LONGEST_S)))
    raise RegistryError(f"{what} was changed by other processes {_ATTEMPTS} times in a row", "run the step again")


def replace(documents: Documents, key: str, content: bytes) -> None:
    """Write a document whatever is there; the last writer wins.

    Raises:
        RegistryError: others changed it all the time.
    """
    for _ in attempts(documents.location(key)):
        present = documents.read(key)
        if present and present.content == content:
            return
        with contextlib.suppress(Changed):
            return documents.write(key, content, present.tag if present else None)
