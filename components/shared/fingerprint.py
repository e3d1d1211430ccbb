"""A fingerprint of files outside a pipeline, so that KFP's cache sees that they have changed."""

import hashlib
import os
import uuid
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import has_magic

from components.shared.errors import InputError, connection_failed

_VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "checksum", "mtime", "LastModified", "last_modified")
"""What file systems call the version of a file, the most exact first."""

_TRIES = 2
_SCHEMES = "give a path, file://, s3:// or another scheme that fsspec knows"
_RIGHTS = "check the permissions there and, for an object store, the credentials (AWS_ACCESS_KEY_ID)"
_AGAIN = "run again later; if it stays so, check the store and the network to it (AWS_ENDPOINT_URL)"


def files_below(uri: str, what: str = "source") -> tuple[Any, dict[str, dict[str, Any]]]:
    """List the files of a file, folder or URI as they are now.

    Args:
        uri: Plain path, file://, s3:// or any other scheme that fsspec supports; `*`, `?` and `[]` are a glob where no
            file or folder has that name.
        what: What the error calls it.

    Returns:
        The file system, and path -> its details (at least `size`), sorted by path; {} if the URI does not exist. Links
        to folders are followed.

    Raises:
        InputError: the file system is unknown or does not answer.
    """
    from botocore.exceptions import BotoCoreError

    try:
        filesystem, root = fsspec.core.url_to_fs(uri)
        filesystem.invalidate_cache()
        if hasattr(filesystem, "retries"):
            # Of s3fs, around the tries of botocore, whose waits grow to eight seconds.
            filesystem.retries = _TRIES
        found = _found(filesystem, root)
    except (ValueError, ImportError, OSError, BotoCoreError) as error:
        silent = connection_failed(error)
        fix = _AGAIN if silent else _RIGHTS if isinstance(error, PermissionError) else _SCHEMES
        raise InputError(f"{what} '{uri}' cannot be opened: {error}", fix, silent) from error
    return filesystem, dict(sorted(found.items()))


def _found(filesystem: Any, root: str) -> dict[str, dict[str, Any]]:
    if filesystem.isfile(root):
        return {root: filesystem.info(root)}
    if has_magic(root) and not filesystem.exists(root):
        listed = filesystem.glob(root, detail=True)
        folders = [path for path, details in listed.items() if details["type"] == "directory"]
        found = {path: details for path, details in listed.items() if details["type"] != "directory"}
        for folder in folders:
            found |= filesystem.find(folder, detail=True)
    else:
        found = filesystem.find(root, detail=True)
    links = [path for path, details in found.items() if details.get("islink") and Path(path).is_dir()]
    for link in links:
        del found[link]
        found |= _linked(link, ())
    return found


def _linked(link: str, outer: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Files below a link to a folder on this machine; a link to one of the folders around it is not followed."""
    target, outer = os.path.realpath(link), (*outer, os.path.realpath(Path(link).parent))
    if any(folder == target or folder.startswith(f"{target}{os.sep}") for folder in outer):
        return {}
    filesystem, found = fsspec.filesystem("file"), dict[str, dict[str, Any]]()
    for path, details in filesystem.find(link, detail=True).items():
        if details.get("islink") and Path(path).is_dir():
            found |= _linked(path, (*outer, target))
        else:
            found[path] = details
    return found


def fingerprint(*uris: str) -> str:
    """Digest of the names, sizes and versions of all files below some URIs.

    Where a file system tells no version (ETag, digest or time of change), each call gives another one.

    Args:
        uris: Files, folders or URIs; '' is none.

    Returns:
        32 hexadecimal digits; '' if no URI is given.

    Raises:
        InputError: a URI does not exist or cannot be listed.
    """
    lines = []
    for uri in filter(None, uris):
        _, files = files_below(uri, "fingerprint of")
        if not files:
            raise InputError(f"'{uri}' does not exist or is empty", "give a file, a folder or a URI with files")
        lines += [_line(path, details) for path, details in files.items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32] if lines else ""


def _line(path: str, details: dict[str, Any]) -> str:
    version = next((details[name] for name in _VERSIONS if details.get(name)), None) or uuid.uuid4().hex
    return f"{path}\t{details.get('size')}\t{version}"
