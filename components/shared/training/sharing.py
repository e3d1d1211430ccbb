"""Rights on a shared volume: the step's pod and its workers' pods may run as different users, so their group has all.

A step runs as root where KFP sets no user, and with umask 0 (KFP 2.17) or the usual 022; workers run as user 1000.
"""

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from components.shared.errors import InputError

WORKER = 1000
"""User and group of the workers' pods, and their fsGroup (manifests/cluster)."""

WRITTEN = "run"
"""Folder of a run that its workers write: checkpoints and results."""


def share_with_workers(volume: Path, folder: Path, names: Sequence[str]) -> None:
    """Let the workers' group read and write what a step has put on a volume.

    Args:
        volume: Where the volume is mounted.
        folder: Folder of the run on it.
        names: Files and folders in it that workers read.

    Raises:
        InputError: the workers would not be allowed to read or write.
    """
    try:
        (folder / WRITTEN).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}", _fix(volume)) from error
    parents = [parent for parent in folder.parents if parent.is_relative_to(volume) and parent != volume]
    for path in (*parents, folder, folder / WRITTEN, *(folder / name for name in names)):
        _open_to_group(path)
    for path in (volume, *reversed(parents), folder, *(folder / name for name in names)):
        _check(path, 1 if path.is_dir() else 4, volume)
    _check(folder / WRITTEN, 7, volume)


def _open_to_group(path: Path) -> None:
    """Files of a folder with the set-group-ID bit get its group, whoever creates them."""
    with contextlib.suppress(PermissionError):
        if path.stat().st_gid != WORKER:
            os.chown(path, -1, WORKER)
        path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o2770 if path.is_dir() else 0o660))


def _check(path: Path, wanted: int, volume: Path) -> None:
    found = path.stat()
    shift = 6 if found.st_uid == WORKER else 3 if found.st_gid == WORKER else 0
    if found.st_mode >> shift & wanted != wanted:
        raise InputError(
            f"{path} belongs to user {found.st_uid} and group {found.st_gid} with mode {found.st_mode & 0o7777:o}, so "
            f"workers, which run as user and group {WORKER}, cannot {'write' if wanted & 2 else 'read'} it",
            _fix(volume),
        )


def _fix(volume: Path) -> str:
    return (
        f"run the step with group {WORKER} (securityContext fsGroup: {WORKER}), or let the owner of the volume run: "
        f"chgrp -R {WORKER} {volume} && chmod -R g+rwX {volume}"
    )
