"""The command line of a stage; its help is there before anything that the stage needs in order to run."""

import sys
from pathlib import Path
from typing import NamedTuple


class Options(NamedTuple):
    """What a stage is told on its command line."""

    overrides: list[str]
    quiet: bool = False


def answer_help(folder: Path) -> None:
    """Print the help of a stage and exit, where `python -m` is about to load a stage of `folder` for nothing else."""
    if sys.argv[0] != "-m" or not {"-h", "--help"} & {*sys.argv[1:]}:  # -m stands there while Python looks for it
        return
    module = sys.orig_argv[-len(sys.argv)].removeprefix("-m")
    file = folder / f"{module.rpartition('.')[2]}.py"
    if file.is_file():
        import ast

        document = ast.get_docstring(ast.parse(file.read_bytes()), clean=False)
        parse_arguments(file.stem, document or "")


def parse_arguments(name: str, document: str) -> Options:
    """The options of a stage; with --help its document and how it is called, then the end."""
    if not any(word.startswith("-") for word in sys.argv[1:]):
        return Options(sys.argv[1:])
    import argparse  # overrides alone do without

    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{name}",
        description=document,
        epilog="Values come from params.yaml; any of them can be overridden: train.lr=1e-3 data.val_fraction=0.2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="a value in place of params.yaml's")
    parser.add_argument("--quiet", action="store_true", help="warnings and errors only")
    found = parser.parse_args()
    return Options(found.overrides, found.quiet)
