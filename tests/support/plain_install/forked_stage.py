"""A stage in place of this process, which passes on its signals and ends as it does: see forked_python.py."""

import json
import os
import signal
import socket
import sys
from pathlib import Path


def run(door: str) -> None:
    """Ask for a fork that does what this Python was started for, and end with it."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(door)
        socket.send_fds(server, [b" "], [0, 1, 2])
        request = [sys.orig_argv, sys.path, str(Path.cwd()), dict(os.environ)]
        server.sendall(json.dumps(request).encode() + b"\n")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: server.send(bytes([number])))
        status = int(server.makefile().read())
    if status < 0:
        if status != -signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)
