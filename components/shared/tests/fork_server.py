"""`python fork_server.py FOLDER OWNER`: import the modules of workers and predictors once, then fork processes.

Starting a worker costs four seconds of imports, and torchrun another two; a fork of a process that has them costs
none. Otherwise the forked process runs as `python -m` starts it: arguments, environment, working folder, streams, its
own session, an exit code. torchrun is unchanged except that it also starts its workers through this server. Unlike
separate processes, forks share the seed of str.__hash__, hence tests of several ranks run real processes as well.

The server ends with the process OWNER, and a forked process ends when the connection that requested it closes.
"""

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path

from fork_client import read_number, request_fork

PRELOADED = {
    "workers": (
        "pandas",
        "torch.distributed.run",
        "components.train_ranker.worker",
        "components.train_retriever.worker",
    ),
    "serving": ("serving.__main__",),
}
"""Name of the server's folder -> modules to import."""


class Forked:
    """The part of subprocess.Popen that torchrun uses, for a process that this server forks."""

    def __init__(self, address, args, env):
        at = args.index("-m")
        self.args, self.returncode = args, None
        self._connection = request_fork(address, args[at + 1], args[at + 2 :], env, (0, 1, 2))
        self.pid = read_number(self._connection)

    def poll(self):
        """Return the exit code, None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.returncode = read_number(self._connection)
            self._connection.close()
        return self.returncode

    def wait(self, timeout=None):
        """See subprocess.Popen."""
        if self.returncode is None and not select.select([self._connection], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.poll()


def main():
    """Serve until the owner ends; a forked process leaves the loop and runs its module."""
    folder, owner = Path(sys.argv[1]), int(sys.argv[2])
    del sys.path[0]  # this file's folder
    address = str(folder / "socket")
    for name in PRELOADED[folder.name]:
        importlib.import_module(name)
        if name != "pandas":
            sys.modules.pop(name)  # it will run as __main__
    if folder.name == "workers":
        from torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler import SubprocessHandler

        SubprocessHandler._popen = lambda _, args, env: Forked(address, args, env)
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address + ".new")
        listening.listen(64)
        Path(address + ".new").rename(address)
        while Path(f"/proc/{owner}").exists():
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not select.select([listening], [], [], 1.0)[0]:
                continue
            connection, _ = listening.accept()
            if os.fork():
                connection.close()
                continue
            listening.close()
            request = _watched(connection)
            _run(request)
            return
    Path(address).unlink(missing_ok=True)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"used {sum(one.ru_utime + one.ru_stime for one in used):.0f} s of CPU")


def _received(connection):
    head, control, *_ = connection.recvmsg(4, socket.CMSG_SPACE(3 * 4))
    streams = array.array("i")
    for _, _, data in control:
        streams.frombytes(data)
    length, body = int.from_bytes(head, "big"), b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return json.loads(body), streams


def _watched(connection):
    """Fork: the child returns its request; the parent reports its exit and kills it when the connection closes."""
    request, streams = _received(connection)
    process = os.fork()
    if not process:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return request
    for stream in streams:
        os.close(stream)
    connection.sendall(f"{process}\n".encode())
    watched = os.pidfd_open(process)
    ready = select.select([watched, connection], [], [])[0]
    if watched not in ready:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(f"{code}\n".encode())
    os._exit(0)


def _run(request):
    """Run the module as `python -m` does; exit without C++ destructors, which would join threads missing in a fork."""
    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path.insert(0, request["folder"])
    sys.argv = [request["module"], *request["words"]]
    code = 0
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main()
