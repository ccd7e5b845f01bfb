"""The checks of `refrain serve --selftest`, of our server and of llama.cpp's with the same model, side by side.

    python -m benchmarks.conformance [--model FOLDER] [--merged FOLDER]

The model in --merged is written as GGUF (q8_0) into a temporary folder for llama.cpp.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import tables
from refrain.exporters.gguf import llama_server, writer
from refrain.pipeline import paths
from refrain.serving.selftest import table
from refrain.serving.settings.schema import ServeSettings


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as place:
        gguf = Path(place) / "model.gguf"
        writer.write_file(options.merged, gguf, "q8_0")
        with llama_server.run_server(gguf, "--slots", "4", "--context", "1024") as address:
            outcomes = {"llama.cpp": list(table.check_server(address, ServeSettings()))}
    outcomes = {"refrain serve": list(table.check_server("", ServeSettings(model=str(options.model)))), **outcomes}
    lines = [["server", "checks"]]
    for server, found in outcomes.items():
        lines.append([server, table.summarise(found)])
        print(": ".join(lines[-1]), *map(table.format_outcome, found), sep="\n", file=sys.stderr)
    print(tables.to_markdown(lines))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", type=Path, default=paths.ONNX)
    parser.add_argument("--merged", type=Path, default=paths.MERGED)
    return parser.parse_args()


if __name__ == "__main__":
    main()
