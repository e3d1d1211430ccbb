"""The access file of a running predictor: read again when it changes; a version that is wrong changes nothing."""

import logging
import threading
from pathlib import Path

from components.shared.errors import InputError
from serving.access.config import read_access
from serving.access.gate import Gate
from serving.access.rates import ClientLimits
from serving.metrics import ACCESS_REFUSED

logger = logging.getLogger("kserve.shoprank")


class AccessFile:
    """Follows a file.

    A wrong file at the start ends the predictor: unlike rules, it must not serve without them. Later, those in force
    stay.

    Args:
        path: YAML or JSON, see AccessOptions.
        poll_s: Seconds between two looks at the file, whose change no event tells on a mounted Secret.

    Raises:
        InputError: it cannot be read or a field is invalid.
    """

    def __init__(self, path: Path, poll_s: float = 1.0):
        self._path, self._poll_s, self._used = path, poll_s, ClientLimits()
        self._seen = self._found()
        self._gate = Gate(read_access(path), self._used)
        self._stopped = threading.Event()
        ACCESS_REFUSED.set(0)
        self._thread = threading.Thread(target=self._follow, name="access", daemon=True)
        self._thread.start()

    def gate(self) -> Gate:
        """The version in force."""
        return self._gate

    def refresh(self) -> None:
        """Read the file if it was changed."""
        found = self._found()
        if found == self._seen:
            return
        self._seen = found
        try:
            self._gate = Gate(read_access(self._path), self._used)
        except InputError as error:
            ACCESS_REFUSED.set(1)
            logger.error("access file refused, the one before it stays: %s; fix: %s", error.headline, error.fix)
            return
        ACCESS_REFUSED.set(0)
        logger.info("access file in force: %s", self._path)

    def close(self) -> None:
        """Stop following the file."""
        self._stopped.set()
        self._thread.join()

    def _found(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (status.st_ino, status.st_mtime_ns, status.st_size)

    def _follow(self) -> None:
        while not self._stopped.wait(self._poll_s):
            self.refresh()
