"""The file of rules of a running predictor: read again whenever it changes; one that is wrong changes nothing."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from components.shared.errors import InputError
from components.shared.features.catalog import Catalog
from components.shared.recommender.rules.config import Merchandising
from components.shared.recommender.rules.reading import read_rules
from components.shared.recommender.rules.rulebook import Rulebook
from components.shared.recommender.rules.selection import Assortment
from components.shared.text.analyzer import Analyzer
from serving.metrics import RULES, RULES_REFUSED

logger = logging.getLogger("kserve.shoprank")


def rules_for(bundle: Path, catalog: Catalog, analyzer: Analyzer) -> Callable[[Merchandising], Rulebook]:
    """A function that makes rules ready for a bundle."""

    def ready(rules: Merchandising) -> Rulebook:
        # The columns by name are only needed while rules are read.
        return Rulebook(rules, Assortment(catalog, bundle / "items.parquet"), analyzer)

    return ready


class RulesFile:
    """Follows a file.

    A file whose contents are wrong is refused: the rules that were in force stay, at the start there are none, so that
    a mistake in it takes no search down. The log and a metric say so.

    Args:
        path: YAML or JSON, see rules.config.Merchandising.
        ready: Makes its rules ready for the served catalog.
        poll_s: Seconds between two looks at the file, whose change no event tells on a mounted ConfigMap.

    Raises:
        InputError: there is no such file.
    """

    def __init__(self, path: Path, ready: Callable[[Merchandising], Rulebook], poll_s: float = 2.0):
        self._path, self._ready, self._poll_s = path, ready, poll_s
        self._seen: tuple[int, int, int] | None = None
        self._current: Rulebook | None = None
        self._stopped = threading.Event()
        if not path.is_file():
            raise InputError(f"--rules {path} is no file", "give a YAML or JSON file, which `shoprank rules` checks")
        self.refresh()
        self._thread = threading.Thread(target=self._follow, name="rules", daemon=True)
        self._thread.start()

    def current(self) -> Rulebook | None:
        """The rules that are in force; None if there were none yet."""
        return self._current

    def refresh(self) -> None:
        """Read the file if it was changed."""
        try:
            status = self._path.stat()
            # A ConfigMap is another file after a change, with the time of its own.
            found = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            found = (0, 0, 0)
        if found == self._seen:
            return
        self._seen = found
        try:
            rules = self._ready(read_rules(self._path))
        except InputError as error:
            RULES_REFUSED.set(1)
            kept = "no rules are in force" if self._current is None else "the rules before it stay in force"
            logger.error("rules refused, %s: %s; fix: %s", kept, error.headline, error.fix)
            return
        self._current = rules
        RULES_REFUSED.set(0)
        RULES.set(len(rules.names))
        logger.info("rules in force: %d, of %s", len(rules.names), self._path)
        for name, unknown in rules.unknown.items():
            logger.warning("rule '%s': the catalog lacks %s", name, ", ".join(unknown[:5]))

    def close(self) -> None:
        """Stop following the file."""
        self._stopped.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stopped.wait(self._poll_s):
            self.refresh()
