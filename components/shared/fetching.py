"""Copies a file from wherever fsspec reaches, for options that name one."""

from pathlib import Path

from components.shared.errors import InputError


def fetch(source: str, target: Path, option: str, fix: str) -> None:
    """Copy one file.

    Args:
        source: Plain path, file://, s3:// or any other scheme that fsspec knows.
        target: File to write.
        option: Path of the option that names the source, for messages.
        fix: What to give instead of a file that cannot be read.

    Raises:
        InputError: it cannot be read.
    """
    # Imported here, because a predictor does without it.
    import fsspec

    try:
        with fsspec.open(source, "rb") as file:
            content = file.read()  # pyright: ignore[reportAttributeAccessIssue]
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"{option}: {source} cannot be read: {error}", fix) from error
    target.write_bytes(content)
