"""Ending a local run with a signal: no process that it started is left."""

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from components.shared.tests.waiting import eventually
from pipelines.local import processes
from pipelines.local.processes import MARK, Terminated, delayed_signals, end_run, of_run, terminated_by_signal
from pipelines.local.runs import exclusive
from tests.signals import default_signals  # noqa: F401

STUBBORN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: pathlib.Path(sys.argv[1]).touch())
print("ready", flush=True)
while True:
    time.sleep(60)
"""


def of_folder(out) -> list[psutil.Process]:
    """Processes of any run in an output folder, without zombies, which have no environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").startswith(str(out)):
                found.append(process)
        except psutil.Error:
            pass
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_signal_during_training_ends_every_process_of_the_run(tmp_path, number):
    out = tmp_path / "out"
    arguments = ["run", "training", "--size", "tiny", "--out", str(out)]
    command = [sys.executable, "-c", "from pipelines.cli.app import main; main()", *arguments]

    def workers():
        assert run.poll() is None, (tmp_path / "log").read_text()
        return [one for one in of_folder(out) if "components.train_retriever.worker" in commands(one)
                and "torch.distributed.run" not in commands(one)]  # fmt: skip

    def commands(process):
        try:
            return process.cmdline()
        except psutil.Error:
            return []

    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as run:
        try:
            assert eventually(workers, 300)
            assert len(of_folder(out)) >= 4  # the pipeline, the step, torchrun and its workers
            run.send_signal(number)
            assert run.wait(60) == 128 + number
            assert of_folder(out) == []
        finally:
            for process in [*of_folder(out), run]:
                process.kill()
    assert not (out / "registry").exists() and list(out.glob("runs/*/run.json")) == []
    with exclusive(out):
        pass


def test_second_signal_kills_the_remaining_processes(tmp_path):
    mark, signalled = str(tmp_path / "run"), tmp_path / "told"
    command = [sys.executable, "-c", STUBBORN, str(signalled)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, MARK: mark}) as stubborn:
        assert stubborn.stdout is not None and stubborn.stdout.readline() == b"ready\n"
        assert [process.pid for process in of_run(mark)] == [stubborn.pid]
        again = threading.Thread(target=lambda: (eventually(signalled.exists, 60), os.kill(os.getpid(), signal.SIGINT)))
        again.start()
        end_run(mark, patience_s=600)
        again.join()
        assert of_run(mark) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_while_a_process_is_started_is_delivered_afterwards(number):
    done = []
    with pytest.raises(Terminated) as stop, terminated_by_signal(), delayed_signals():
        signal.raise_signal(number)
        done.append("started")
    assert done == ["started"] and stop.value.number == number
    assert signal.getsignal(number) == signal.SIG_DFL


def test_run_started_with_nohup_ignores_sighup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminated_by_signal(), delayed_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signal_before_the_start_of_a_server_stops_it(monkeypatch):
    class Early(subprocess.Popen):
        def __init__(self, command):
            signal.raise_signal(signal.SIGTERM)
            super().__init__(command)

    monkeypatch.setattr(processes.subprocess, "Popen", Early)
    assert processes.run_until_stopped([sys.executable, "-c", "import time; time.sleep(600)"]) == 128 + signal.SIGTERM
