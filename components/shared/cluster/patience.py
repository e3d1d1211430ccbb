"""How long an API server may be unavailable, and what is said of one that is."""

from dataclasses import dataclass

import urllib3


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long an API server may be unavailable."""

    connects: int = 30
    """Attempts to connect; waits double from 0.2 s to at most 5 s between them, so 30 are about two minutes."""
    statuses: int = 12
    """Attempts after 429, 500, 502, 503 or 504, such as from an unavailable webhook: 12 are about 40 s."""
    unknown_kind_s: float = 3.0
    """Seconds until an unknown kind is an error: a server that has just started may not have loaded its kinds."""

    def retries(self) -> urllib3.Retry:
        """Return the urllib3 Retry; all methods are retried because all calls are idempotent."""
        return urllib3.Retry(
            total=None, connect=self.connects, read=self.connects, other=0, redirect=3, status=self.statuses,
            status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None, backoff_factor=0.2, backoff_max=5.0,
            raise_on_status=False,
        )  # fmt: skip


def network_cause(error: Exception) -> str:
    """What the network said, without the connection pool's words around it."""
    reason = str(getattr(error, "reason", None) or error)
    return reason.partition("): ")[2] or reason
