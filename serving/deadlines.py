"""How long a request may take: what its client says, or the default."""

import math

from serving.protocol import RequestError

DEADLINE_HEADER = "x-request-deadline-ms"
"""Milliseconds, from its arrival, after which nobody waits for the answer to a request; also a key of gRPC metadata."""
_LONGEST_MS = 3_600_000


def parse_deadline(text: str, default_ms: float) -> float:
    """Milliseconds that a request has.

    Args:
        text: Value of its header, '' for none.
        default_ms: Of requests without the header.

    Raises:
        RequestError: it is no number of milliseconds.
    """
    if not text:
        return default_ms
    try:
        deadline_ms = float(text)
    except ValueError:
        deadline_ms = math.nan
    if not 0 < deadline_ms <= _LONGEST_MS:
        raise RequestError(f"header 'X-Request-Deadline-Ms' is '{text[:60]}'",
                           f"send milliseconds, above 0 and at most {_LONGEST_MS:,}", DEADLINE_HEADER)  # fmt: skip
    return deadline_ms
