"""A folder shared by a step and its workers: a path on a shared volume, or an s3:// URI of an object store.

Writes are atomic, as in storage.py; KFP's minio:// is treated as s3://.
"""

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec

from components.shared.errors import InputError, connection_failed
from components.shared.storage import atomic_directory, read_json, write_json


class SharedFolder:
    """One folder, by path or URI.

    Args:
        address: A path, an s3:// or minio:// URI, or another SharedFolder.
    """

    def __init__(self, address: "str | Path | SharedFolder"):
        text = str(address)
        text = f"s3://{text.removeprefix('minio://')}" if text.startswith("minio://") else text
        self.address = text.rstrip("/")
        """Path or URI without a trailing slash."""
        self.remote = "://" in text
        """Whether the folder is in an object store."""

    def __str__(self) -> str:
        return self.address

    def __truediv__(self, name: str) -> "SharedFolder":
        return SharedFolder(f"{self.address}/{name}")

    @property
    def path(self) -> Path | str:
        """Path or URI for torch.distributed.checkpoint, which distinguishes them by type."""
        return self.address if self.remote else Path(self.address)

    @contextlib.contextmanager
    def _files(self) -> Iterator[tuple[Any, str]]:
        """Provide the file system, without cached listings (other processes write too), and this folder's path."""
        from botocore.exceptions import BotoCoreError

        try:
            files, root = fsspec.core.url_to_fs(self.address)
            files.invalidate_cache()
            yield files, root
        except (OSError, ValueError, ImportError, BotoCoreError) as error:
            raise InputError(
                f"{self.address} cannot be read or written: {error}",
                "give a folder or an s3:// URI that is writable for the step and its workers; for S3 give both "
                "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                connection_failed(error),
            ) from error

    def exists(self, name: str) -> bool:
        """Return whether the file `name` exists.

        Raises:
            InputError: the folder cannot be read.
        """
        if not self.remote:
            return (Path(self.address) / name).exists()
        with self._files() as (files, root):
            return files.exists(f"{root}/{name}")

    def subfolders_with(self, name: str) -> list[str]:
        """Return the names of direct subfolders that contain a file `name`, in arbitrary order.

        Raises:
            InputError: the folder cannot be read.
        """
        if not self.remote:
            return [path.parent.name for path in Path(self.address).glob(f"*/{name}")]
        with self._files() as (files, root):
            return [path.split("/")[-2] for path in files.find(root) if path.split("/")[-1] == name]

    def read_json(self, name: str) -> Any:
        """Read a JSON file.

        Raises:
            InputError: it is missing, cannot be read or is not JSON.
        """
        if not self.remote:
            return read_json(Path(self.address) / name)
        with self._files() as (files, root):
            return json.loads(files.cat_file(f"{root}/{name}"))

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file atomically.

        Raises:
            InputError: the folder cannot be written.
        """
        if not self.remote:
            write_json(Path(self.address) / name, value)
            return
        with self._files() as (files, root):
            files.pipe_file(f"{root}/{name}", json.dumps(value, indent=2, sort_keys=True).encode())

    def put(self, source: Path, name: str) -> None:
        """Copy a local file into the folder as `name`, which may contain slashes.

        Raises:
            InputError: the folder cannot be written.
        """
        with self._files() as (files, root):
            files.makedirs(f"{root}/{name}".rsplit("/", 1)[0], exist_ok=True)
            files.put_file(str(source), f"{root}/{name}")

    def take(self, name: str, target: Path) -> None:
        """Copy the file `name` to a local file.

        Raises:
            InputError: the file does not exist or cannot be read.
        """
        with self._files() as (files, root):
            files.get_file(f"{root}/{name}", str(target))

    def download(self, target: Path) -> None:
        """Copy all files to a local folder, which is created atomically.

        Raises:
            InputError: the folder is empty or cannot be read, or the disk is full.
        """
        with self._files() as (files, root), atomic_directory(target) as folder:
            found = files.find(root)
            if not found:
                raise FileNotFoundError("it is empty")
            for path in found:
                local = folder / path.removeprefix(f"{root}/")
                local.parent.mkdir(parents=True, exist_ok=True)
                files.get_file(path, str(local))

    def remove(self) -> None:
        """Remove the folder and its contents, if it exists.

        Raises:
            InputError: the folder cannot be removed.
        """
        if not self.remote:
            shutil.rmtree(self.address, ignore_errors=True)
            return
        with self._files() as (files, root):
            if files.exists(root):
                files.rm(root, recursive=True)

    @contextlib.contextmanager
    def upload_on_exit(self) -> Iterator[Path]:
        """Provide a local folder; its files are in this folder after the block ends without an error.

        Raises:
            InputError: the folder cannot be written.
        """
        if not self.remote:
            Path(self.address).mkdir(parents=True, exist_ok=True)
            yield Path(self.address)
            return
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
            for path in sorted(Path(folder).rglob("*")):
                if path.is_file():
                    self.put(path, str(path.relative_to(folder)))


def local_path(address: str) -> Path:
    """Return the path of this node's copy of a remote folder; a local folder is its own copy."""
    if not SharedFolder(address).remote:
        return Path(address)
    return Path(tempfile.gettempdir()) / "shoprank" / hashlib.sha256(address.encode()).hexdigest()[:16]
