"""The warm worker: run a stage in a fork of a process that has imported torch.

Importing torch takes 1.5 to 5 seconds, a fork 13 ms: a graph of short stages would spend half its time on
imports. The worker starts and ends with Snakemake's graph. Forks import the pipeline themselves, so an
edited module never runs in its old version. If no worker listens (on a cluster node, by hand), the stage
runs in this process.
"""

import contextlib
import ctypes
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

SOCKET = Path("results/.warm")  # relative: the path of a Unix socket has to be short
STOPS = (signal.SIGINT, signal.SIGTERM)
LENGTH = 4  # bytes that say how long a request is
LEAVE_SECONDS = 5.0  # for last checkpoints, after the graph has ended
PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>: the signal to receive when the parent ends


def start() -> subprocess.Popen:
    """Start the worker; it ends when its standard input is closed."""
    SOCKET.parent.mkdir(exist_ok=True)
    SOCKET.unlink(missing_ok=True)
    words = [sys.executable, "-m", "pipeline.runner.worker"]
    server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert server.stdout is not None
    server.stdout.readline()  # it listens now; it imports torch for the first request
    return server


def run(stage: str, words: list[str]) -> int:
    """Do what `python -m pipeline.<stage> WORDS` does; return its exit code."""
    server = socket.socket(socket.AF_UNIX)
    try:
        server.connect(str(SOCKET))
    except OSError:
        return execute(stage, words)
    request = json.dumps({"stage": stage, "words": words, "environment": dict(os.environ)}).encode()
    socket.send_fds(server, [len(request).to_bytes(LENGTH, "big")], [0, 1, 2])
    server.sendall(request)
    for number in STOPS:
        signal.signal(number, lambda came, frame: server.sendall(bytes([came])))
    answer = server.recv(1)
    if not answer:
        print(f"{stage}: the process that ran it ended; the same command goes on", file=sys.stderr)
        return 1
    return answer[0]


def execute(stage: str, words: list[str]) -> int:
    sys.argv = [stage, *words]
    try:
        runpy.run_module(f"pipeline.{stage}", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


class Server:
    """Serves each connection by a fork: bytes received are its signals; a closed connection kills it."""

    def __init__(self, kept: str) -> None:
        self.kept = kept
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(SOCKET))
        self.listener.listen(256)
        self.inode = SOCKET.stat().st_ino  # the next graph's worker may bind the path before this one ends
        self.forks: dict[int, socket.socket] = {}  # by process
        self.selector = selectors.DefaultSelector()
        self.ended, self.wake = socket.socketpair()  # receives a byte when a fork ends
        self.ended.setblocking(False)
        self.wake.setblocking(False)
        signal.set_wakeup_fd(self.wake.fileno())
        signal.signal(signal.SIGCHLD, lambda came, frame: None)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(self.ended, selectors.EVENT_READ)
        self.selector.register(sys.stdin, selectors.EVENT_READ)

    def serve(self) -> None:
        print("listening", flush=True)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is sys.stdin:
                    self.close()
                    return
                if key.fileobj is self.listener:
                    self.begin(self.listener.accept()[0])
                elif key.fileobj is self.ended:
                    self.reap()
                else:
                    self.hear(key.data, key.fileobj)

    def begin(self, client: socket.socket) -> None:
        import numpy  # noqa: F401
        import torch._dynamo  # noqa: F401  # which torch's optimisers import: 1.2 s

        length, streams, *_ = socket.recv_fds(client, LENGTH, 3)
        left, request = int.from_bytes(length, "big"), b""
        while left and (part := client.recv(left)):  # no further: signals may follow
            request, left = request + part, left - len(part)
        if left or not request:  # the client was killed while it wrote
            client.close()
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # until the fork has the client's streams
        process = os.fork()
        if process == 0:
            client.close()
            self.become(json.loads(request), streams)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        for stream in streams:
            os.close(stream)
        self.forks[process] = client
        self.selector.register(client, selectors.EVENT_READ, process)

    def become(self, request: dict[str, Any], streams: list[int]) -> NoReturn:
        """Run the stage in the fork and exit."""
        from pipeline.system.files import COMPILED  # imported here, since clients do not need it

        gc.freeze()  # else the fork's collector would visit, and so copy, what was imported
        code = 1
        try:
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.selector.close()
            for open_socket in (self.listener, *self.forks.values()):
                open_socket.close()
            for received, standard in zip(streams, (0, 1, 2), strict=True):
                os.dup2(received, standard)
                os.close(received)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
            os.environ.clear()
            os.environ.update(request["environment"], **{COMPILED: self.kept})
            code = execute(request["stage"], request["words"])
        except KeyboardInterrupt:
            print(f"{request['stage']}: stopped; the same command begins it", file=sys.stderr)
            code = 128 + signal.SIGINT
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)

    def hear(self, process: int, client: Any) -> None:
        came = client.recv(1)
        if not came:  # the client was killed
            self.selector.unregister(client)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, came[0] if came else signal.SIGKILL)

    def reap(self) -> None:
        self.ended.recv(4096)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                client, code = self.forks.pop(ended[0]), os.waitstatus_to_exitcode(ended[1])
                with contextlib.suppress(KeyError):
                    self.selector.unregister(client)
                with contextlib.suppress(OSError):
                    client.sendall(bytes([code if code >= 0 else 128 - code]))
                client.close()

    def close(self) -> None:
        """The graph has ended: stop the forks, with time to write their last checkpoints."""
        signal.set_wakeup_fd(-1)
        until = time.monotonic() + LEAVE_SECONDS
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self.forks:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            while self.forks and time.monotonic() < until:
                with contextlib.suppress(ChildProcessError):
                    self.forks.pop(os.waitpid(-1, os.WNOHANG)[0], None)
                time.sleep(0.01)
        with contextlib.suppress(FileNotFoundError):
            if SOCKET.stat().st_ino == self.inode:
                SOCKET.unlink()


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(run(sys.argv[1], sys.argv[2:]))
    with tempfile.TemporaryDirectory() as kept:
        Server(kept).serve()
