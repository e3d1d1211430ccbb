"""The platform of the tests: up, shared, and gone without a trace, however its users end."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import boto3
import pytest

from components.shared.tests.waiting import eventually
from tests.cluster.platform import client
from tests.cluster.platform.layout import CHECKOUT, cache
from tests.cluster.platform.object_store import ACCESS_KEY, SECRET_KEY

HOLD = """
import sys, time
from tests.cluster.platform.client import running
with running(lambda line: None) as platform:
    print(platform.kubeconfig, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """A platform of this test alone, so that it can be killed."""
    lack = client.lacks()
    if lack:
        pytest.skip(lack)
    folder = Path(f"/tmp/shoprank-lifetime-{os.getpid()}")
    monkeypatch.setenv("SHOPRANK_PLATFORM", str(folder))
    yield folder
    client.down()
    for path in (cache() / "platforms").glob(f"{folder.name}.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def holder():
    """A process that uses the platform until the end of the body; yields it and the kubeconfig that it got."""
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def traces(folder, network):
    """What is left of a platform: files, processes, mounts, interfaces, routes, control groups."""
    found = [str(folder)] if folder.exists() else []
    name = str(folder)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if name.encode() in (process / "cmdline").read_bytes() and int(process.name) != os.getpid():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if name in line]
    if network:
        said = subprocess.run("ip link; ip route", shell=True, capture_output=True, text=True).stdout
        found += [line for line in said.splitlines() if f"shoprank{network}" in line or f"10.{network}." in line]
        found += control_groups(f"shoprank-platform-{network}")
    return found


def control_groups(name):
    # Not pathlib's glob, which fails where a group of another platform goes meanwhile.
    return [f"{place}/{one}" for place, folders, _ in os.walk("/sys/fs/cgroup") for one in folders if one == name]


def network_of(folder):
    return json.loads((folder / "owner.json").read_text())["network"]


def test_two_users_share_it_and_it_ends_with_the_second(apart):
    with holder() as (first, kubeconfig), holder() as (second, again):
        assert kubeconfig == again and kubeconfig.exists()
        network = network_of(apart)
        first.terminate()
        first.wait()
        assert not eventually(lambda: not kubeconfig.exists(), seconds=6), "it ended although it was in use"
        second.terminate()
        assert eventually(lambda: not traces(apart, network), seconds=30), traces(apart, network)


def test_another_platform_leaves_the_object_store_alone(node, apart):
    # SeaweedFS keeps its sockets in /tmp under the names of its ports, which are the same in every platform.
    address = f"http://{node.facts['node']}:{node.facts['ports']['s3']}"
    store = boto3.client(
        "s3", endpoint_url=address, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )  # fmt: skip

    def stores():
        bucket = f"apart-{uuid.uuid4().hex[:8]}"
        store.create_bucket(Bucket=bucket)
        store.put_object(Bucket=bucket, Key="a", Body=b"1")
        return store.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"

    with holder() as (process, _):
        network = network_of(apart)
        assert stores()
        process.terminate()
    assert eventually(lambda: not traces(apart, network), seconds=30), traces(apart, network)
    assert stores()


def test_nothing_is_left_of_a_killed_test_run(apart):
    with holder() as (process, _):
        network = network_of(apart)
        os.killpg(process.pid, signal.SIGKILL)
        assert eventually(lambda: not traces(apart, network), seconds=30), traces(apart, network)


def test_nothing_is_left_of_a_killed_supervisor(apart):
    with holder():
        facts = json.loads((apart / "owner.json").read_text())
        os.kill(facts["pid"], signal.SIGKILL)
        # The kernel takes all but files and control groups, which go with the next `up` or `down`.
        files = (str(apart), "/sys/fs/cgroup/")
        assert eventually(lambda: all(one.startswith(files) for one in traces(apart, facts["network"])), seconds=30)
    client.down()
    assert traces(apart, facts["network"]) == []
