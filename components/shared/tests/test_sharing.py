"""Rights on a shared volume, for steps of several users and their workers."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from components.shared.errors import InputError
from components.shared.training.sharing import WORKER, share_with_workers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as several users")

AS_USER = """
import os, shutil, sys
from pathlib import Path
from components.shared.errors import InputError
from components.shared.training.sharing import share_with_workers
user, group, umask, volume = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3], 8), Path(sys.argv[4])
os.umask(umask)
# Only now: the interpreter and its packages may be the administrator's own.
os.setgroups([group]), os.setgid(group), os.setuid(user)
"""

STEP = """
folder = volume / "exchange" / "run-1"
(folder / "features").mkdir(parents=True)
(folder / "job.json").write_text("{}")
try:
    share_with_workers(volume, folder, ["job.json", "features"])
except InputError as error:
    print(error.headline)
"""

WORK = """
folder = volume / "exchange" / "run-1"
(folder / "job.json").read_text()
(folder / "run" / "checkpoints").mkdir()
(folder / "run" / "checkpoints" / "step").write_text("1")
"""

REMOVE = "shutil.rmtree(volume / 'exchange' / 'run-1')"


def run_as(user: int, group: int, code: str, volume: Path, umask: str = "002") -> str:
    command = [sys.executable, "-c", AS_USER + code, str(user), str(group), umask, str(volume)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def volume(tmp_path_factory) -> Path:
    """A volume of root below a folder that everybody may pass."""
    folder = tmp_path_factory.mktemp("volume")
    for parent in (folder, *folder.parents):
        if parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(0o755)
    return folder


@pytest.mark.parametrize("umask", ["022", "077", "000"])
@pytest.mark.parametrize(("user", "group"), [(0, 0), (WORKER, WORKER), (2000, WORKER)])
def test_step_and_workers_share_a_folder(volume, user, group, umask):
    """The volume belongs to the workers' group, as fsGroup makes it; root needs no fsGroup."""
    if user:
        os.chown(volume, 0, WORKER)
        volume.chmod(0o2775)
    assert run_as(user, group, STEP, volume, umask) == ""
    run_as(WORKER, WORKER, WORK, volume)
    run_as(user, group, REMOVE, volume)
    assert list((volume / "exchange").iterdir()) == []
    found = (volume / "exchange").stat()
    assert (found.st_gid, stat.S_IMODE(found.st_mode) & 0o2770) == (WORKER, 0o2770)


@pytest.mark.parametrize(("mode", "group", "message"), [
    (0o2700, WORKER, "mode 2700, so workers, which run as user and group 1000, cannot read it"),
    (0o777, 2000, "belongs to user 2000 and group 2000 with mode 755"),
])  # fmt: skip
def test_what_workers_cannot_use_is_named_with_a_fix(volume, mode, group, message):
    os.chown(volume, 2000, group)
    volume.chmod(mode)
    assert message in run_as(2000, 2000, STEP, volume, "022")


def test_fix_names_group_and_commands(volume):
    volume.chmod(0o700)
    (volume / "job.json").write_text("{}")
    with pytest.raises(InputError) as refused:
        share_with_workers(volume, volume / "run-1", [])
    assert "fsGroup: 1000" in refused.value.fix and f"chmod -R g+rwX {volume}" in refused.value.fix
