"""What a benchmark asks of a contender: a module with `make` and `open_model`, run by the Python that has its packages.

    python -m benchmarks.contenders.NAME make SOURCE OUT PRECISION
    python -m benchmarks.contenders.NAME serve OUT THREADS

`serve` writes a line when the model is open. After that each line it reads, {"prompt": [ids], "new": 128, "rows": 1},
is answered by {"prefill_s": ..., "decode_s": ..., "tokens": [ids], "peak_mb": ...}: seconds to the first token, and
from the first to the last, of so many rows of that prompt, and the tokens of the first row. {"error": "why"} answers
what cannot be done.
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
TimedTokens = list[tuple[float, int]]  # when each token was known, and which it is
Generate = Callable[[list[int], int, int], TimedTokens]  # prompt, how many new tokens, in how many rows at once
Make = Callable[[Path, Path, str], int]  # source, out, precision; the bytes that SIZE holds
OpenModel = Callable[[Path, int], Generate]  # folder, threads


def run(make: Make, open_model: OpenModel) -> None:
    """What the command line asks of the contender whose two functions these are."""
    answers = quiet_stdout()
    task, *arguments = sys.argv[1:]
    try:
        if task == "make":
            source, out, precision = arguments
            size = make(Path(source), Path(out), precision)
            Path(out, SIZE).write_text(f"{size}\n")
        else:
            folder, threads = arguments
            serve(open_model(Path(folder), int(threads)), answers)
    except Exception as error:  # whatever a library raises is the answer
        send(answers, error=first_line(error))
        sys.exit(1)


def serve(generate: Generate, answers: TextIO) -> None:
    """Answers, one for each line of standard input."""
    send(answers, ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        begin = time.perf_counter()
        try:
            timed_tokens = generate(request["prompt"], request["new"], request["rows"])
        except ValueError as error:  # of this request alone
            send(answers, error=first_line(error))
            continue
        first, last = timed_tokens[0][0], timed_tokens[-1][0]
        tokens = [token for _, token in timed_tokens]
        send(answers, prefill_s=first - begin, decode_s=last - first, tokens=tokens, peak_mb=peak_mb())


def time_tokens(tokens: Iterable[int]) -> TimedTokens:
    """Each token of a stream with the moment at which it came."""
    return [(time.perf_counter(), token) for token in tokens]


def quiet_stdout() -> TextIO:
    """Standard output, for answers alone: whatever else is printed from now on goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def send(answers: TextIO, **facts: object) -> None:
    print(json.dumps(facts), file=answers, flush=True)


def first_line(error: Exception) -> str:
    """The first line of an error."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def peak_mb() -> float:
    """The most memory this process has had resident, mapped files included."""
    status = Path("/proc/self/status").read_text()
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+)", status)
    return int(kilobytes) / 1000
