"""The `refrain` command: talk to an exported model, answer a file of prompts, measure, check, rebuild, show results."""

import argparse
import atexit
import errno
import gc
import importlib
import os
import sys
from itertools import chain
from types import ModuleType

from refrain import TRAIN, __version__
from refrain.cli.repository import enter_root

GROUPS = {  # modules of this package, each loaded when it is asked for
    "use a model": ["chat", "generate", "serve"],
    "verify": ["audit", "check", "verify", "replay"],
    "inspect": ["data", "inspect", "report", "info", "trace", "bench"],
    "experiment": ["compare", "learning_curve", "sweep"],
    "share": ["publish"],
    "set up": ["doctor"],
    "clean up": ["clean"],
}

YOUNG_OBJECTS = 50_000  # that Python makes before it looks for garbage among them: what loads makes many, and none is


def main(argv: list[str] | None = None) -> int:
    """Run a command; what is wrong with the input is one sentence on stderr and the command's code of failure."""
    gc.set_threshold(YOUNG_OBJECTS)
    atexit.register(gc.freeze)  # of what is there when a command ends, Python would search all for garbage
    words = sys.argv[1:] if argv is None else argv
    options, place = build_parser(words[0] if words else "").parse_args(words), enter_root()
    try:
        code = int(options.run(options))
        sys.stdout.flush()  # where a failure can still be said
        return code
    except BrokenPipeError:  # the reader has left, as `head` does
        drop_output()
        return int(options.failure_code)
    except (ValueError, OSError) as error:
        drop_output()
        print(f"refrain: {describe_error(error)}{place}", file=sys.stderr)
        return int(options.failure_code)
    except ModuleNotFoundError as error:
        if (error.name or "refrain").partition(".")[0] == "refrain":
            raise
        print(f"refrain: this command needs the extra train, for {error.name} is not installed; "
              f"`pip install '{TRAIN}'` brings it", file=sys.stderr)  # fmt: skip
        return int(options.failure_code)
    except KeyboardInterrupt:
        return 130


def drop_output() -> None:
    """What cannot be written now is not tried again when Python ends, which would complain in its own words."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def describe_error(error: ValueError | OSError) -> str:
    """What is wrong, on one line; the system's own words for a file behind its name."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "no space is left where this is written; free some, or write it elsewhere"
    return str(error)


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """The command line of one command, or of all where that is none; options.py is the one owner of default values."""
    names = list(chain.from_iterable(GROUPS.values()))
    wanted = [name for name in names if typed_name(name) == command] or names
    parser = argparse.ArgumentParser(
        prog="refrain",
        usage="refrain COMMAND ...",
        description=describe_commands() if wanted == names else None,
        epilog="`refrain COMMAND --help` explains a command, `refrain --version` names the version.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.set_defaults(run=lambda _: print(parser.format_help(), end="") or 2, failure_code=1)
    parser.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    version = f"refrain {__version__}"
    parser.add_argument("--version", action="version", version=version, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(prog="refrain", metavar="COMMAND", help=argparse.SUPPRESS)
    for name in wanted:
        load_command(name).add_parser(commands)
    return parser


def load_command(name: str) -> ModuleType:
    return importlib.import_module(f"refrain.cli.{name}")


def typed_name(name: str) -> str:
    return name.replace("_", "-")


def describe_commands() -> str:
    """What all of this is for, and the commands under what they are for, a line each."""
    groups = ("\n".join([f"{title}:", *map(command_line, names)]) for title, names in GROUPS.items())
    return "\n\n".join(["Small chat models in ONNX, every step proven.", *groups])


def command_line(name: str) -> str:
    return f"  {typed_name(name):<16}{load_command(name).HELP}"


if __name__ == "__main__":
    sys.exit(main())
