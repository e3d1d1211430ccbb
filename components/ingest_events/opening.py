"""Opens the files of a source, so that an error while one of them is read names that file."""

import io
import sys
from collections.abc import Callable
from typing import IO, Any, TypeVar, cast

from components.shared.errors import InputError, connection_failed

_BUFFER = 1 << 20
"""Bytes; every read of the file below takes the way through Python."""

Answer = TypeVar("Answer")


def opened(filesystem: Any, path: str) -> IO[bytes]:
    """Open a file of an fsspec file system for reading.

    Raises:
        InputError: it cannot be opened. Reading and seeking in the stream raise it too, where the file is gone, was
            changed, or the file system does not answer.
    """
    stream = named(path, lambda: filesystem.open(path, "rb"))
    return cast(IO[bytes], io.BufferedReader(_NamedFile(stream, path), _BUFFER))


class _NamedFile(io.RawIOBase):
    """A stream whose errors are InputErrors with its path."""

    def __init__(self, stream: Any, path: str):
        self._stream, self._path = stream, path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        content = named(self._path, lambda: self._stream.read(len(buffer)))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return named(self._path, lambda: self._stream.seek(offset, whence))

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()
        super().close()


def named(path: str, action: Callable[[], Answer]) -> Answer:
    """Do something with a file or URI of any file system.

    Raises:
        InputError: it failed; names the path.
    """
    try:
        return action()
    except Exception as error:  # Each file system raises those of its own client.
        raise _explained(path, error) from error


def _explained(path: str, error: Exception) -> InputError:
    again = "run again while nothing writes to the source"
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path} was removed after the source was listed", again)
    # Only a process that reads from S3 has s3fs.
    if isinstance(error, getattr(sys.modules.get("s3fs.utils"), "FileExpired", ())):
        return InputError(f"{path} was changed while it was read", again)
    why = getattr(error, "strerror", None) or error
    if connection_failed(error):
        fix = "run again later; if it stays so, check the store and the network to it"
        return InputError(f"{path} cannot be read now: {why}", fix, True)
    return InputError(f"{path} cannot be read: {why}", "check its permissions and its file system")
