"""Cursors: where a page ended, as an opaque text that is bound to its request.

A cursor names the last item by its sort key and id, and items of a ranked order by their digests, so that the next page
continues there whatever was added to the catalog or removed from it. Its checksum finds damage and edits; it is no
secret, and a forged cursor opens nothing that the request itself may not ask for.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from serving.protocol import Instance, Moment, RequestError, Text

_VERSION = 1
_CHECKSUM = 8
_DIGEST = 6
"""Bytes of an item's digest: 2,000 shown items and a million others meet by chance once in 100,000 listings."""
_BOUND = {
    "user_id", "query", "verbatim", "filters", "sort", "history", "diversity", "similar_to", "bought_with", "more_like",
}  # fmt: skip
"""Fields that a page has in common with the one before."""


@dataclass(frozen=True)
class After:
    """Position of an item in a sorted order.

    Attributes:
        level: 0 for the highest class of a search. key: Sort key, ascending; infinite for unknown. item_id: Its id.
    """

    level: int
    key: float
    item_id: str


@dataclass(frozen=True)
class Position:
    """Where a page ended.

    Attributes:
        as_of: Time of the first page, epoch seconds; all pages are answered as of it.
        shown: uint64 [n], digests of the items that were shown from a ranked order.
        after: The last item that was shown from a sorted order; None before one.
    """

    as_of: int
    shown: np.ndarray
    after: After | None = None


class _Head(BaseModel):
    """What a cursor holds beside the digests of items."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    request: str
    time: Moment
    after: tuple[Annotated[int, Field(ge=0, le=2)], float, Text] | None = None


def item_digests(item_ids: Sequence[str]) -> np.ndarray:
    """Digest of each id, uint64 [n]."""
    found = (int.from_bytes(hashlib.blake2b(one.encode(), digest_size=_DIGEST).digest(), "little") for one in item_ids)
    return np.fromiter(found, np.uint64, len(item_ids))


def write_cursor(instance: Instance, position: Position) -> str:
    """The cursor of the page after a position."""
    after = position.after and (position.after.level, position.after.key, position.after.item_id)
    head = _Head(request=_request_digest(instance), time=position.as_of, after=after)
    body = bytes([_VERSION]) + head.model_dump_json().encode() + b"\n" + _packed(position.shown)
    return base64.urlsafe_b64encode(_checksum(body) + body).decode().rstrip("=")


def read_cursor(instance: Instance, where: str = "") -> Position | None:
    """Position of an instance's cursor; None for the first page.

    Args:
        instance: The instance.
        where: Prefix of field names, see protocol.parse_instance.

    Raises:
        RequestError: the cursor is damaged, of another version, or of another request.
    """
    if not instance.cursor:
        return None
    field = f"{where}cursor"
    try:
        body = _decoded(instance.cursor)
        if body[0] != _VERSION:
            raise RequestError(f"field '{field}' is a cursor of version {body[0]}, this predictor reads {_VERSION}",
                               "start again from the first page, without a cursor", field)  # fmt: skip
        text, _, shown = body[1:].partition(b"\n")
        head = _Head.model_validate_json(text)
        position = Position(head.time, _unpacked(shown), head.after and After(*head.after))
    except ValueError as error:
        raise RequestError(f"field '{field}' is not a cursor, or was changed",
                           "send the `cursor` of the previous answer as it is, or none for the first page", field
                           ) from error  # fmt: skip
    if head.request != _request_digest(instance):
        raise RequestError(f"field '{field}' is the cursor of another request",
                           f"send the same {', '.join(sorted(_BOUND))} as for the first page, or no cursor",
                           field)  # fmt: skip
    return position


def _decoded(cursor: str) -> bytes:
    """What a cursor holds, at least one byte.

    Raises:
        ValueError: it is not base64, or its checksum is not that of its content.
    """
    raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    checksum, body = raw[:_CHECKSUM], raw[_CHECKSUM:]
    if not body or checksum != _checksum(body):
        raise ValueError("wrong checksum")
    return body


def _packed(digests: np.ndarray) -> bytes:
    return digests.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :_DIGEST].tobytes()


def _unpacked(raw: bytes) -> np.ndarray:
    digests = np.zeros((len(raw) // _DIGEST, 8), np.uint8)
    digests[:, :_DIGEST] = np.frombuffer(raw, np.uint8).reshape(-1, _DIGEST)
    return digests.view("<u8").ravel().astype(np.uint64)


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKSUM, person=b"shoprank cursor").digest()


def _request_digest(instance: Instance) -> str:
    bound = instance.model_dump(include=_BOUND)
    return hashlib.blake2b(json.dumps(bound, sort_keys=True).encode(), digest_size=8).hexdigest()
