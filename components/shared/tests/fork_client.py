"""`python -IS fork_client.py FOLDER OWNER MODULE [WORD ...]`: run `python -m MODULE WORD ...` in a forked process.

It stands in for that command: same output, exit code and signals, and the module's process ends when it does. The first
client starts the server of FOLDER (see fork_server.py), which ends with the process OWNER. Imports only modules that
load quickly.
"""

import array
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def request_fork(address, module, words, environment, streams):
    """Request the process and return the connection, which receives its pid as one line, then its exit code."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address)
        request = {"module": module, "words": list(words), "environment": dict(environment), "folder": str(Path.cwd())}
        body = json.dumps(request).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))]
        connection.sendmsg([len(body).to_bytes(4, "big")], rights)
        connection.sendall(body)
    except BaseException:
        connection.close()
        raise
    return connection


def read_number(connection):
    """Return the next number, None at the end."""
    received = b""
    while not received.endswith(b"\n"):
        part = connection.recv(1)
        if not part:
            return None
        received += part
    return int(received)


def _address(folder, owner):
    """Return the socket of the server in this folder; start the server if it does not run."""
    path = Path(folder, "socket")
    with Path(folder, "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with Path(folder, "log").open("ab") as log:
                command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("fork_server.py"))]
                process = subprocess.Popen(
                    [*command, folder, owner], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                    start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
                )  # fmt: skip
            while not path.exists():
                if process.poll() is not None:
                    sys.exit(f"the fork server of {folder} ended; see its log")
                time.sleep(0.02)
    return str(path)


def _ranks_lock(words):
    """Lock this machine for a training with several ranks; SEVERAL_RANKS of starts.py names the same file."""
    ranks = [word.partition("=")[2] for word in words if word.startswith("--nproc")]
    if not ranks or ranks == ["1"]:
        return contextlib.nullcontext()
    lock = Path(os.environ.get("TMPDIR", "/tmp"), f"shoprank-tests-several-ranks-{os.getuid()}.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def main():
    """Stand in for the process until it ends, and exit the same way."""
    folder, owner, module, *words = sys.argv[1:]
    child, early = [], []

    def forward(number, _):
        if child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child[0], number)
        else:
            early.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, forward)
    with _ranks_lock(words), request_fork(_address(folder, owner), module, words, os.environ, (0, 1, 2)) as connection:
        child.append(read_number(connection))
        for number in early:
            forward(number, None)
        code = read_number(connection)
    if code is None:
        sys.exit("the fork server is gone")
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
