"""Influence for a server: a process of its own computes it, so that no answer waits and no PyTorch stays in memory.

As a program it reads one JSON object, the arguments of `answer_trace.trace_influence`, and prints what that gives.
"""

import asyncio
import importlib.util
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refrain.serving.lineage import answer_trace

MAX_MINUTES = 5  # of gradients that were never computed for a model; `refrain trace` takes longer if told
LEAST_URGENT = 19


class InfluenceJobs:
    """One at a time; the others wait."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def run(self, folder: Path, prompt_ids: Sequence[int], reply: str, limit: int) -> dict[str, Any]:
        """As `answer_trace.trace_influence`; the process ends with the task that waits for it."""
        if importlib.util.find_spec("torch") is None:
            return {"problem": answer_trace.EXTRA}
        asked = {"folder": str(folder), "prompt_ids": list(prompt_ids), "reply": reply, "limit": limit}
        async with self._lock:
            program = [sys.executable, "-m", __name__]
            process = await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE, stderr=PIPE)
            try:
                printed, errors = await process.communicate(json.dumps(asked).encode())
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        try:
            result: dict[str, Any] = json.loads(printed)
        except ValueError:
            last = errors.decode(errors="replace").strip().rpartition("\n")[2] or f"exit code {process.returncode}"
            return {"problem": f"influence: its process failed ({last})"}
        return result


def main() -> None:
    os.nice(LEAST_URGENT)
    asked = json.load(sys.stdin)
    result = answer_trace.trace_influence(
        Path(asked["folder"]), asked["prompt_ids"], asked["reply"], asked["limit"], MAX_MINUTES
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
