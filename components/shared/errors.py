"""Every error a person can cause, each with a headline and the fix.

ShoprankError
├── InputError       a flag, parameter or request field has a value that cannot be used
│   └── SchemaError  a table lacks a column or holds the wrong type
├── DataError        the data itself is refused (validation, empty splits)
├── BundleError      a model bundle is incomplete, tampered with or of another format
├── RegistryError    a registry operation would break its rules
├── AuditError       the audit log is not the one that was written
├── TrainingError    a training process ended without a model
├── ServingError     the predictor did not start, or did not answer as it must
└── ClusterError     the Kubernetes API refused, or could not be reached
    ├── MissingObject    no such object, or the cluster does not know the kind
    └── ChangedObject    somebody else made or changed the object in between
"""


class ShoprankError(Exception):
    """A refusal that names what is wrong and how to fix it.

    Args:
        headline: One line that names the field, flag, file or column.
        fix: One line that says what to do; lists what exists where that helps.
    """

    def __init__(self, headline: str, fix: str):
        super().__init__(headline, fix)
        self.headline = headline
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.headline}\n  fix: {self.fix}"


class InputError(ShoprankError):
    """A flag, parameter or request field has a value that cannot be used."""


class SchemaError(InputError):
    """A table lacks a column or holds the wrong type."""


class DataError(ShoprankError):
    """The data itself is refused."""


class BundleError(ShoprankError):
    """A model bundle is incomplete, tampered with or of another format."""


class RegistryError(ShoprankError):
    """A registry operation would break its rules."""


class AuditError(ShoprankError):
    """The audit log is not the one that was written."""


class TrainingError(ShoprankError):
    """A training process ended without a model."""


class ServingError(ShoprankError):
    """The predictor did not start, or did not answer as it must."""


class ClusterError(ShoprankError):
    """The Kubernetes API refused, or could not be reached."""


class MissingObject(ClusterError):
    """No such object, or the cluster does not know the kind."""


class ChangedObject(ClusterError):
    """Somebody else made or changed the object in between."""
