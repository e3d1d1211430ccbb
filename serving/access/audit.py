"""Audit of admin calls: one line each, of the client, the call and its outcome."""

import asyncio
import json
import logging
from pathlib import Path

from components.shared.errors import ShoprankError
from components.shared.release.audit import AuditLog, noted
from components.shared.release.documents import FolderDocuments

logger = logging.getLogger("kserve.shoprank.audit")


class AdminAudit:
    """Writes lines in the form of the registry's audit log.

    Args:
        folder: Folder of audit.jsonl, whose lines are chained by SHA-256; None: lines of the process's log.
    """

    def __init__(self, folder: Path | None):
        self._log = AuditLog(FolderDocuments(folder)) if folder else None
        self._lock = asyncio.Lock()

    async def note(self, client: str, call: str, outcome: str) -> None:
        """Record one call.

        Args:
            client: Name of the client; '' if nobody was authenticated.
            call: The call without what a client put into it.
            outcome: HTTP status or gRPC code.
        """
        line = noted("admin", client=client, call=call, outcome=outcome)
        logger.warning("admin call: %s", json.dumps(line, ensure_ascii=False))
        if self._log is None:
            return
        # The log is read and written as a whole: one call at a time, and not on the event loop.
        async with self._lock:
            try:
                await asyncio.to_thread(self._log.append_once, line)
            except ShoprankError as error:
                logger.error("the audit log was not written: %s", error.headline)
