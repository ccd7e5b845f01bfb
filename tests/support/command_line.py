"""The `refrain` command as a process, and a person at its terminal."""

import os
import subprocess
import sys

from places import ROOT

REFRAIN = [sys.executable, "-m", "refrain.cli.main"]
FOREVER = ["--max-new-tokens", "1000000"]
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
SHORT = ["--max-new-tokens", "12"]


def refrain(*arguments, stdin=""):
    """Run the command with questions on stdin."""
    command = [*REFRAIN, *map(str, arguments)]
    return subprocess.run(command, input=stdin.encode(), capture_output=True, cwd=ROOT)
