"""What the benchmark asks of a contender: a module with `make` and `opened`, run by the interpreter that has its needs.

    python -m benchmarks.contenders.NAME make SOURCE OUT PRECISION
    python -m benchmarks.contenders.NAME serve OUT THREADS

`serve` writes a line when the model is open. After that each line it reads, {"prompt": [ids], "new": 128}, is answered
by {"prefill_s": ..., "decode_s": ..., "tokens": [ids], "peak_mb": ...}: seconds to the first token, and from the first
to the last. {"error": "why"} answers what cannot be done.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

SIZE = "bytes_per_token"  # the file that ends `make`: how many bytes of weights one token reads
Spoken = list[tuple[float, int]]  # when each token was known, and which it is
Speak = Callable[[list[int], int], Spoken]  # prompt, how many new tokens
Make = Callable[[Path, Path, str], int]  # source, out, precision; the bytes that SIZE holds
Opened = Callable[[Path, int], Speak]  # folder, threads


def run(make: Make, opened: Opened) -> None:
    """What the command line asks of the contender whose two functions these are."""
    answers = quiet_stdout()
    task, *rest = sys.argv[1:]
    try:
        if task == "make":
            source, out, precision = rest
            size = make(Path(source), Path(out), precision)
            Path(out, SIZE).write_text(f"{size}\n")
        else:
            folder, threads = rest
            serve(opened(Path(folder), int(threads)), answers)
    except Exception as error:  # whatever a library raises is the answer
        tell(answers, error=reason(error))
        sys.exit(1)


def serve(speak: Speak, answers: TextIO) -> None:
    """Answers, one for each line of standard input."""
    tell(answers, ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        begin = time.perf_counter()
        spoken = speak(request["prompt"], request["new"])
        first, last = spoken[0][0], spoken[-1][0]
        tokens = [token for _, token in spoken]
        tell(answers, prefill_s=first - begin, decode_s=last - first, tokens=tokens, peak_mb=peak_mb())


def timed(tokens: Iterable[int]) -> Spoken:
    """Each token of a stream with the moment at which it came."""
    return [(time.perf_counter(), token) for token in tokens]


def quiet_stdout() -> TextIO:
    """Standard output, for answers alone: whatever else is printed from now on goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def tell(answers: TextIO, **facts: object) -> None:
    print(json.dumps(facts), file=answers, flush=True)


def reason(error: Exception) -> str:
    """The first line of an error."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def peak_mb() -> float:
    """The most memory this process has had resident, mapped files included."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1000
