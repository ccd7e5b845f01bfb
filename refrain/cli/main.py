"""The `refrain` command: talk to an exported model, answer a file of prompts, measure, check, rebuild, show results."""

import argparse
import sys
from pathlib import Path
from typing import Any

from refrain.cli.artifacts import audit, bench, check, clean, info, report, verify
from refrain.cli.chat import run
from refrain.cli.generate import run
from refrain.cli.options import add_generation_options, positive
from refrain.pipeline import paths


def main(argv: list[str] | None = None) -> int:
    """Run a command; what is wrong with the input is one sentence on stderr and exit code 1."""
    options = arguments().parse_args(argv)
    try:
        return int(options.run(options))
    except BrokenPipeError:  # the reader has left, as `head` does
        return 1
    except (ValueError, OSError) as error:
        print(f"refrain: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def arguments() -> argparse.ArgumentParser:
    """The command line, with options.py the one owner of its default values."""
    parser = argparse.ArgumentParser(prog="refrain", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for kind in (speaking, proving):
        kind(commands)
    return parser


def speaking(commands: Any) -> None:
    """The commands that use a model."""
    talk = commands.add_parser("chat", help="talk to an exported model", description=run.__doc__)
    add_generation_options(talk)
    talk.add_argument(
        "--prompt", metavar="TEXT", help="answer this and exit; - takes a question from each line of stdin"
    )
    talk.set_defaults(run=run)

    many = commands.add_parser("generate", help="answer a file of prompts", description=run.__doc__)
    add_generation_options(many)
    add = many.add_argument
    add("--input", default="-", metavar="FILE", help="JSON lines with a prompt or messages; -, the default: stdin")
    add("--output", default="-", metavar="FILE", help="JSON lines with id and reply; -, the default: stdout")
    add("--batch", type=positive, default=8, metavar="N", help="replies that grow at once, default: %(default)s")
    add("--beams", type=positive, default=1, metavar="N", help="the likeliest reply as a whole, by a beam search")
    add("--logprobs", type=int, default=0, metavar="N", help="of each token, so many of the likeliest")
    add("--lookup", action="store_true", help="guess what was said before; for one reply at a time, see --batch")
    add("--quiet", action="store_true", help="no progress")
    many.set_defaults(run=run)

    speed = commands.add_parser("bench", help="measure every variant", description=bench.__doc__)
    speed.add_argument("--rounds", type=positive, default=5, metavar="N", help="default: %(default)s")
    speed.add_argument("--threads", type=positive, metavar="N", help="default: as many as there are cores")
    speed.set_defaults(run=bench)


def proving(commands: Any) -> None:
    """The commands that say what a model is, and how it came about."""
    whole = commands.add_parser("check", help="compare a folder with its manifest", description=check.__doc__)
    whole.add_argument("folder", type=Path, metavar="FOLDER")
    whole.set_defaults(run=check)

    source = commands.add_parser("info", help="say where a folder comes from", description=info.__doc__)
    source.add_argument(
        "folder", type=Path, nargs="?", default=paths.ONNX, metavar="FOLDER", help="models/onnx if none"
    )
    source.set_defaults(run=info)

    again = commands.add_parser("verify", help="rebuild a commit and compare", description=verify.__doc__)
    again.add_argument("rev", nargs="?", default="HEAD", metavar="REV", help="commit or tag, default: %(default)s")
    again.add_argument("--folder", type=Path, metavar="FOLDER", help="rebuild in this folder, and keep it")
    again.set_defaults(run=verify)

    learned = commands.add_parser("audit", help="look at what is learned of each row", description=audit.__doc__)
    learned.set_defaults(run=audit)

    room = commands.add_parser("clean", help="remove checkpoints that nobody needs", description=clean.__doc__)
    room.set_defaults(run=clean)

    outcome = commands.add_parser("report", help="show the results of the last run", description=report.__doc__)
    outcome.add_argument("--samples", type=positive, default=3, metavar="N", help="questions, default: %(default)s")
    outcome.set_defaults(run=report)


if __name__ == "__main__":
    sys.exit(main())
