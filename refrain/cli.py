"""The `refrain` command: talk to an exported model, check that a folder arrived whole, show results."""

import argparse
import sys
from pathlib import Path

from refrain import manifest, paths


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
    """The command line, the one owner of its default values."""
    parser = argparse.ArgumentParser(prog="refrain", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_chat(commands.add_parser("chat", help="talk to an exported model", description=chat.__doc__))
    whole = commands.add_parser("check", help="compare a folder with its manifest", description=check.__doc__)
    whole.add_argument("folder", type=Path, metavar="FOLDER")
    whole.set_defaults(run=check)
    outcome = commands.add_parser("report", help="show the results of the last run", description=report.__doc__)
    outcome.add_argument(
        "--samples", type=positive, default=3, metavar="N", help="test questions, default: %(default)s"
    )
    outcome.set_defaults(run=report)
    return parser


def add_chat(parser: argparse.ArgumentParser) -> None:
    """The options of `refrain chat`."""
    add = parser.add_argument
    add("--model", type=Path, default=paths.ONNX / "int8", metavar="FOLDER", help="default: %(default)s")
    add("--system", default="", metavar="TEXT", help="the system prompt")
    add("--prompt", metavar="TEXT", help="answer this and exit; - takes a question from each line of stdin")
    add("--temperature", type=float, default=0.0, metavar="T", help="0, the default: the likeliest token")
    add("--top-k", type=int, default=0, metavar="K", help="only the K likeliest tokens; 0, the default: all")
    add("--top-p", type=float, default=1.0, metavar="P", help="only the likeliest that hold this share")
    add("--seed", type=int, default=0, metavar="N", help="the same seed and turns get the same reply")
    add("--max-new-tokens", type=positive, default=256, metavar="N", help="of a reply, default: %(default)s")
    add("--stop", type=some, nargs="+", action="extend", default=[], metavar="TEXT", help="ends a reply")
    add("--threads", type=positive, metavar="N", help="default: as many as there are cores")
    parser.set_defaults(run=chat)


def chat(options: argparse.Namespace) -> int:
    """Talk to an exported model. Piped questions, one a line, are each answered alone, one answer a line."""
    from refrain import terminal  # --help should not wait for ONNX Runtime

    manner = terminal.Manner(
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed,
        limit=options.max_new_tokens,
        stops=tuple(options.stop),
    )
    voice = terminal.opened(options.model, manner, options.threads)
    if options.prompt not in (None, "-"):
        for piece in terminal.answer(voice, options.system, options.prompt):
            print(piece, end="", flush=True)
        print()
    elif options.prompt == "-" or not sys.stdin.isatty():
        for line in terminal.answers(voice, options.system, sys.stdin):
            print(line, flush=True)
    else:
        terminal.converse(voice, options.system)
    return 0


def check(options: argparse.Namespace) -> int:
    """Compare a folder with the checksums in its manifest.json; name each bad file and exit with 1."""
    wrong = manifest.check(options.folder)
    print("\n".join(wrong) or f"whole: {len(manifest.read(options.folder)['files'])} files")
    return 1 if wrong else 0


def report(options: argparse.Namespace) -> int:
    """The metrics of every model, and test questions with the reference and what each model says."""
    from refrain import report as outcome

    print(outcome.text(paths.METRICS, paths.PREDICTIONS, options.samples))
    return 0


def positive(text: str) -> int:
    """A whole number above 0."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def some(text: str) -> str:
    """A text that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("an empty text would end every reply at once")
    return text


if __name__ == "__main__":
    sys.exit(main())
