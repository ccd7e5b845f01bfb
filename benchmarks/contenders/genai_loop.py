"""onnxruntime-genai in a plain loop: prompts from standard input, one after the other, and a line for every token.

    python -m benchmarks.contenders.genai_loop FOLDER THREADS

{"id": 1, "prompt": [ids], "new": 32} is answered by 32 lines of its id, as soon as each token is known.
"""

import json
import sys
from pathlib import Path

from benchmarks.contenders import genai_model, protocol


def main() -> None:
    answers = protocol.quiet_stdout()
    folder, threads = sys.argv[1:]
    stream = genai_model.open_stream(Path(folder), int(threads))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        for _ in stream(request["prompt"], request["new"]):
            print(request["id"], file=answers, flush=True)


if __name__ == "__main__":
    main()
