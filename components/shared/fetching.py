"""Copies a file from wherever fsspec reaches, for options that name one."""

from pathlib import Path

from components.shared.errors import InputError, connection_failed


def fetch(source: str, target: Path, option: str, fix: str) -> None:
    """Copy one file.

    Args:
        source: Plain path, file://, s3:// or any other scheme that fsspec knows.
        target: File to write.
        option: Path of the option that names the source, for messages.
        fix: What to give instead of a file that does not exist.

    Raises:
        InputError: it does not exist or cannot be read; transient if its store did not answer.
    """
    # Imported here, because a predictor has neither and fetches nothing.
    from botocore.exceptions import BotoCoreError

    from components.shared.fingerprint import files_below

    files, found = files_below(source, option)
    if len(found) != 1:
        raise InputError(f"{option}: '{source}' does not exist", fix)
    try:
        files.get_file(next(iter(found)), str(target))
    except (OSError, BotoCoreError) as error:
        raise InputError(f"{option}: '{source}' cannot be read: {error}", fix, connection_failed(error)) from error
