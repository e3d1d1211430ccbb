"""Names of objects in Kubernetes: labels of RFC 1123."""

import re

from components.shared.errors import InputError

RULE = "use a-z, 0-9 and -, at most 63, first and last no -"
"""What a name may be."""
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def is_object_name(name: str) -> bool:
    """Whether a name is a label as in RFC 1123, section 2.1."""
    return _LABEL.fullmatch(name) is not None


def check_object_names(*, optional: bool = False, **flags: str) -> None:
    """Check the values of flags, such as `serving_namespace` of `--serving-namespace`.

    Args:
        optional: Whether they may be empty.
        flags: Name of the flag, with underscores -> value.

    Raises:
        InputError: one is no name.
    """
    for flag, name in flags.items():
        if not is_object_name(name) and not (optional and not name):
            raise InputError(f"--{flag.replace('_', '-')} {name!r} is not a name in Kubernetes", RULE)
