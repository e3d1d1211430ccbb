import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.shared.cgroup import limit_threads, usable_cpus, usable_memory

GIB = 2**30


@pytest.fixture
def proc(tmp_path):
    """Factory of a process's procfs folder and of the cgroup file systems listed in its `mountinfo`."""

    def create(cgroup: str, mounts: list[str], files: dict[str, str]) -> Path:
        folder = tmp_path / "proc"
        folder.mkdir()
        (folder / "cgroup").write_text(cgroup)
        lines = [f"{number} 25 0:{number} {mount}\n" for number, mount in enumerate(mounts, 30)]
        (folder / "mountinfo").write_text("".join(["22 27 0:21 / /proc rw,relatime - proc proc rw\n", *lines]))
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"{text}\n")
        return folder

    return create


def v2_mount(tmp_path: Path, root: str = "/") -> str:
    return f"{root} {tmp_path}/v2 rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"


def v1_mount(tmp_path: Path, folder: str, controllers: str, root: str = "/") -> str:
    return f"{root} {tmp_path}/{folder} rw shared:9 - cgroup cgroup rw,{controllers}"


@pytest.mark.parametrize(("limit", "cpus"), [
    ("150000 100000", 2), ("100000 100000", 1), ("10000 100000", 1), ("400000 100000", 4), ("max 100000", 6),
])  # fmt: skip
def test_v2_cpu_limit_is_rounded_up_and_max_means_the_affinity(proc, tmp_path, limit, cpus):
    folder = proc("0::/pod\n", [v2_mount(tmp_path)], {"v2/pod/cpu.max": limit, "v2/pod/memory.max": "max"})
    assert usable_cpus(folder, affinity=6) == cpus
    assert usable_memory(folder, installed=8 * GIB) == 8 * GIB


def test_smallest_of_all_parent_limits_and_the_affinity_applies(proc, tmp_path):
    folder = proc("0::/slice/pod\n", [v2_mount(tmp_path)], {
        "v2/slice/pod/cpu.max": "800000 100000", "v2/slice/cpu.max": "300000 100000",
        "v2/slice/pod/memory.max": str(4 * GIB), "v2/slice/memory.max": str(3 * GIB),
        "v2/slice/other/cpu.max": "100000 100000",
    })  # fmt: skip
    assert usable_cpus(folder, affinity=16) == 3
    assert usable_cpus(folder, affinity=2) == 2
    assert usable_memory(folder, installed=8 * GIB) == 3 * GIB
    assert usable_memory(folder, installed=2 * GIB) == 2 * GIB


def test_v1_limits_are_read_from_the_mounts_of_their_controllers(proc, tmp_path):
    mounts = [
        v1_mount(tmp_path, "cpu,cpuacct", "cpu,cpuacct"),
        v1_mount(tmp_path, "memory", "memory"),
        v2_mount(tmp_path),
    ]
    folder = proc("9:cpuset:/\n4:memory:/pod\n1:cpu,cpuacct:/pod\n0::/\n", mounts, {
        "cpu,cpuacct/pod/cpu.cfs_quota_us": "250000", "cpu,cpuacct/pod/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/pod/memory.limit_in_bytes": str(GIB), "memory/memory.limit_in_bytes": "9223372036854771712",
    })  # fmt: skip
    assert usable_cpus(folder, affinity=16) == 3
    assert usable_memory(folder, installed=8 * GIB) == GIB


def test_v1_limits_in_a_container_with_cgroup_paths_of_the_host(proc, tmp_path):
    mounts = [v1_mount(tmp_path, "cpu", "cpu", "/docker/1"), v1_mount(tmp_path, "memory", "memory", "/docker/1")]
    folder = proc("4:memory:/docker/1/own\n1:cpu:/docker/1\n", mounts, {
        "cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": str(2 * GIB), "memory/own/memory.limit_in_bytes": str(GIB),
    })  # fmt: skip
    assert usable_cpus(folder, affinity=16) == 1
    assert usable_memory(folder, installed=8 * GIB) == GIB


def test_cgroup_outside_the_mount_is_treated_as_its_root(proc, tmp_path):
    folder = proc("0::/../elsewhere\n", [v2_mount(tmp_path, "/pod")], {"v2/cpu.max": "200000 100000"})
    assert usable_cpus(folder, affinity=16) == 2


def test_affinity_and_installed_memory_apply_without_procfs_or_cgroups(proc, tmp_path):
    assert usable_cpus(tmp_path, affinity=5) == 5
    assert usable_memory(tmp_path, installed=GIB) == GIB
    assert usable_cpus(proc("0::/\n", [], {}), affinity=5) == 5
    assert 1 <= usable_cpus() <= len(os.sched_getaffinity(0)) and usable_memory() > 0


def test_thread_count_is_set_only_below_a_cpu_limit_and_if_unset(proc, tmp_path):
    folder = proc("0::/\n", [v2_mount(tmp_path)], {"v2/cpu.max": "200000 100000"})
    free, limited, chosen = {}, {}, {"OMP_NUM_THREADS": "1"}
    limit_threads(free, folder, affinity=2)
    limit_threads(limited, folder, affinity=16)
    limit_threads(chosen, folder, affinity=16)
    assert (free, limited, chosen) == ({}, {"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "1"})


@contextlib.contextmanager
def one_cpu() -> Iterator[Path]:
    """Create a cgroup limited to one CPU; skip the test where this is not permitted."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    found = {("cpu" if kind == "cgroup" else ""): Path(where) for _, where, kind, options, *_ in mounts
             if (kind == "cgroup" and "cpu" in options.split(",")) or kind == "cgroup2"}  # fmt: skip
    if not found:
        pytest.skip("no cgroup file system with CPU limits is mounted here")
    folder = found.get("cpu", found.get("")) / f"shoprank-test-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"a cgroup cannot be made here: {error}")
    try:
        name, text = ("cpu.cfs_quota_us", "100000") if "cpu" in found else ("cpu.max", "100000 100000")
        try:
            (folder / name).write_text(text)
        except OSError as error:
            pytest.skip(f"a cgroup's CPU cannot be limited here: {error}")
        yield folder
    finally:
        folder.rmdir()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this process may use one CPU anyway")
def test_libraries_use_one_thread_in_a_real_cgroup_with_one_cpu():
    program = (
        "from components.shared.cgroup import usable_cpus\n"
        "from components.shared.recommender import vector_index\n"
        "import torch\n"
        "from serving.config import default_threads\n"
        "print(usable_cpus(), torch.get_num_threads(), vector_index.faiss.omp_get_max_threads(), default_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with one_cpu() as group:
        inside = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group), sys.executable, "-c", program]
        completed = subprocess.run(inside, env=environment, capture_output=True, text=True, check=False)
        assert completed.returncode == 0, completed.stderr
    assert completed.stdout.split() == ["1", "1", "1", "1"]
