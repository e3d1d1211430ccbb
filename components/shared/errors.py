"""Errors for users, each with a headline and a fix.

ShoprankError
├── InputError       a flag, parameter or request field has an invalid value
│   └── SchemaError  a table lacks a column, or a column has the wrong type
├── DataError        the data is invalid (validation, empty splits)
├── BundleError      a model bundle is incomplete, was modified or has another format
├── RegistryError    a registry operation is not allowed
├── AuditError       the audit log was modified
├── TrainingError    a training process failed
├── ServingError     the predictor did not start, or gave no valid answer
└── ClusterError     the Kubernetes API rejected a request or is unreachable
    ├── MissingObject    the object does not exist, or the cluster does not support its kind
    └── ChangedObject    the object was created or changed concurrently
"""

import sys


class ShoprankError(Exception):
    """Base of all errors for users: what is wrong and how to fix it.

    Args:
        headline: One line that names the field, flag, file or column.
        fix: One line that says what to do; lists the valid choices where possible.
        transient: Whether the same call may succeed later, such as when a service did not answer; steps try again.
    """

    def __init__(self, headline: str, fix: str, transient: bool = False):
        super().__init__(headline, fix)
        self.headline = headline
        self.fix = fix
        self.transient = transient

    def __str__(self) -> str:
        return f"{self.headline}\n  fix: {self.fix}"


class InputError(ShoprankError):
    """A flag, parameter or request field has an invalid value."""


class SchemaError(InputError):
    """A table lacks a column, or a column has the wrong type."""


class DataError(ShoprankError):
    """The data is invalid."""


class BundleError(ShoprankError):
    """A model bundle is incomplete, was modified or has another format."""


class RegistryError(ShoprankError):
    """A registry operation is not allowed."""


class AuditError(ShoprankError):
    """The audit log was modified."""


class TrainingError(ShoprankError):
    """A training process failed."""


class ServingError(ShoprankError):
    """The predictor did not start, or gave no valid answer."""


class ClusterError(ShoprankError):
    """The Kubernetes API rejected a request or is unreachable."""


class MissingObject(ClusterError):
    """The object does not exist, or the cluster does not support its kind."""


class ChangedObject(ClusterError):
    """The object was created or changed concurrently."""


def connection_failed(error: BaseException | None) -> bool:
    """Whether a lost or refused connection, a timeout, or a server with too much to do is behind an error.

    A missing file or right is not.
    """
    # Only a process that uses S3 has botocore.
    remote = getattr(sys.modules.get("botocore.exceptions"), "HTTPClientError", ConnectionError)
    while error is not None:
        if isinstance(error, (ConnectionError, TimeoutError, remote)) or _status(error) in _BUSY:
            return True
        error = error.__cause__ or error.__context__
    return False


_BUSY = (429, 500, 502, 503, 504)
"""HTTP statuses after which the same request may succeed."""


def _status(error: BaseException) -> int:
    """HTTP status of the answer that botocore raised as an error; 0 for other errors."""
    answer = getattr(error, "response", None)
    return answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(answer, dict) else 0
