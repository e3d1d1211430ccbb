"""A prefix of an S3 object store: conditional writes, listings, downloads that continue after a lost connection.

Endpoint, region and credentials are botocore's: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, a role of the service account.
A write is conditional on the ETag that was read (If-Match) or on there being no object (If-None-Match), as Amazon S3,
MinIO and SeaweedFS know it. Python's HTTP client takes a connection that ends within the headers for the end of the
headers, so an answer counts only with all of its body.
"""

import contextlib
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from components.shared.errors import InputError, RegistryError
from components.shared.release.documents import Changed, Stored

SCHEME = "s3://"
_CHUNK, _TRIES = 1 << 20, 3
_LARGEST = 5 * 1024**3
"""Largest object of one request, bytes; all conditional writes are one request."""
_RACED, _GONE = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}, {"NoSuchKey", "404"}


class _Incomplete(Exception):
    """The answer ended before its body did."""


class ObjectStore:
    """Objects below `s3://bucket/prefix`; a Documents, with the operations for files beside it.

    Args:
        uri: s3://bucket or s3://bucket/prefix.

    Raises:
        InputError: the URI has another form.
    """

    def __init__(self, uri: str):
        self._bucket, _, prefix = uri.removeprefix(SCHEME).partition("/")
        if not uri.startswith(SCHEME) or not self._bucket:
            raise InputError(f"'{uri}' is not a URI of an object store", "give s3://bucket/prefix")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.uri = f"{SCHEME}{self._bucket}/{self._prefix}".rstrip("/")
        """The URI without a trailing slash."""

    def location(self, key: str) -> str:
        """URI of an object."""
        return f"{self.uri}/{key}"

    def read(self, key: str) -> Stored | None:
        """See Documents."""
        for last in _tries():
            with self._answers(key, raised=last):
                answer = self._get(key)
                return Stored(_body(answer), answer["ETag"]) if answer else None
        raise AssertionError("the last try raises")

    def write(self, key: str, content: bytes, tag: str | None) -> None:
        """See Documents."""
        self.put(key, content, tag=tag)

    def put(
        self, key: str, content: bytes | Path, facts: Mapping[str, str] | None = None, tag: str | None = None
    ) -> None:
        """Write an object.

        Args:
            key: The object.
            content: Bytes, or a file.
            facts: Stored with it; see `facts`.
            tag: ETag of the object that is replaced; None: there must be none.

        Raises:
            Changed: as of Documents.write.
            InputError: the file is too large, or the bucket does not exist.
            RegistryError: the store refused it or does not answer.
        """
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        known = {"Bucket": self._bucket, "Key": self._prefix + key, "Metadata": dict(facts or {}), **condition}
        with self._answers(key):
            if isinstance(content, bytes):
                self._client.put_object(Body=content, **known)
                return
            if content.stat().st_size > _LARGEST:
                raise InputError(f"{content} has more than 5 GiB, the most of one S3 request",
                                 "split the file, or use a registry in a folder")  # fmt: skip
            with content.open("rb") as stream:
                self._client.put_object(Body=stream, **known)

    def facts(self, key: str) -> dict[str, str] | None:
        """What `put` stored with an object that is not empty; None if it does not exist."""
        for last in _tries():
            with self._answers(key, raised=last):
                # One byte of body shows that the headers are whole.
                answer = self._get(key, Range="bytes=0-0")
                return answer["Metadata"] if answer and _body(answer) else None
        raise AssertionError("the last try raises")

    def sizes(self, prefix: str) -> dict[str, int]:
        """Key and size in bytes of every object whose key begins with `prefix`, in order of the keys."""
        for last in _tries():
            with self._answers(prefix, raised=last):
                pages = list(self._client.get_paginator("list_objects_v2").paginate(
                    Bucket=self._bucket, Prefix=self._prefix + prefix
                ))  # fmt: skip
                if not all("Name" in page for page in pages):
                    raise _Incomplete("a listing without a body")
                return {one["Key"].removeprefix(self._prefix): one["Size"] for page in pages
                        for one in page.get("Contents", [])}  # fmt: skip
        raise AssertionError("the last try raises")

    def download(self, key: str, target: Path) -> None:
        """Write an object to a file; after a lost connection it goes on where it was.

        Raises:
            Changed: it does not exist.
            RegistryError: the store does not answer.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as stream:
            for last in _tries():
                with self._answers(key, raised=last):
                    answer = self._get(key, **({"Range": f"bytes={stream.tell()}-"} if stream.tell() else {}))
                    if answer is None:
                        raise Changed(key)
                    _length(answer)
                    for part in answer["Body"].iter_chunks(_CHUNK):
                        stream.write(part)
                    return

    def remove(self, key: str) -> None:
        """See Documents."""
        with self._answers(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    @cached_property
    def _client(self) -> Any:
        import botocore.session
        from botocore.config import Config

        # Checksums beside the signature's are an extension that many S3 servers lack; bundles carry their own hashes.
        config = Config(
            retries={"mode": "standard"}, request_checksum_calculation="when_required",
            response_checksum_validation="when_required", connect_timeout=10, read_timeout=60,
        )  # fmt: skip
        session = botocore.session.get_session()
        session.register_component("data_loader", _models())
        # An S3 server of one's own has no regions; a signature names one all the same.
        region = session.get_config_variable("region") or "us-east-1"
        client = session.create_client("s3", region_name=region, config=config)
        client.meta.events.register_last("before-call.s3", _expect_nothing)
        return client

    def _get(self, key: str, **part: str) -> dict[str, Any] | None:
        """The answer of GetObject, None if there is no such object."""
        from botocore.exceptions import ClientError

        try:
            return self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, **part)
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return None
            raise

    @contextlib.contextmanager
    def _answers(self, key: str, raised: bool = True) -> Iterator[None]:
        """Translate the client's errors; with raised=False a lost connection is left to the caller's next try."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
        from urllib3.exceptions import HTTPError

        where = self.location(key)
        try:
            yield
        except ClientError as error:
            code = str(error.response["Error"]["Code"])
            if code in _RACED or code in _GONE:
                raise Changed(where) from error
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) < 500 and code != "500":
                raise self._refused(code, where, error) from error
            if raised:
                raise self._silent(where, error) from error
        except NoCredentialsError as error:
            raise InputError(f"{where}: no credentials for the object store", _CREDENTIALS) from error
        except (BotoCoreError, HTTPError, _Incomplete, ValueError, KeyError) as error:
            # ValueError and KeyError: a header that ends early may be any text, or be missing.
            if raised:
                raise self._silent(where, error) from error

    def _silent(self, where: str, error: Exception) -> RegistryError:
        return RegistryError(
            f"{where}: the object store does not answer: {error}",
            "check AWS_ENDPOINT_URL and the network, then run the step again: what was written is complete or absent",
            transient=True,
        )

    def _refused(self, code: str, where: str, error: Exception) -> InputError | RegistryError:
        if code == "NoSuchBucket":
            return InputError(f"{where}: there is no bucket '{self._bucket}'", "create it, or name another registry")
        if code == "RequestTimeTooSkewed":
            return RegistryError(f"{where}: the clocks of this machine and of the object store differ too much",
                                 "synchronise this machine's clock (timedatectl set-ntp true)")  # fmt: skip
        return RegistryError(f"{where}: {error}", _CREDENTIALS)


_CREDENTIALS = (
    "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the Secret shoprank-object-store, or a service account with "
    "a role, that may read, write, list and delete there"
)


def _expect_nothing(params: dict[str, Any], **_: Any) -> None:
    """Take `Expect: 100-continue` out: botocore reads for ever if the connection ends within the answer to it."""
    params["headers"].pop("Expect", None)


def _length(answer: dict[str, Any]) -> int:
    """Length of a body, which every complete answer has."""
    try:
        return int(answer["ResponseMetadata"]["HTTPHeaders"]["content-length"])
    except KeyError as error:
        raise _Incomplete("an answer without a length") from error


def _body(answer: dict[str, Any]) -> bytes:
    """The body, whole."""
    content = answer["Body"].read()
    if len(content) != _length(answer):
        raise _Incomplete(f"{len(content)} bytes of {_length(answer)}")
    return content


@cache
def _models() -> Any:
    """Botocore's descriptions of the services, which take longer to read than a request."""
    from botocore.loaders import create_loader

    return create_loader()


def _tries() -> Iterator[bool]:
    """Whether this is the last try, for each try."""
    yield from (number == _TRIES - 1 for number in range(_TRIES))
