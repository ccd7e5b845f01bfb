"""`refrain data`: what would be learned from files of rows."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from refrain.cli.repository import typed_rows

HELP = "show what is learned from a file of rows"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("data", usage="refrain data FILE ... [key=value ...]", description=run.__doc__)
    parser.add_argument(
        "arguments", type=typed_rows, nargs="+", metavar="FILE", help="a file of rows, a folder of them, or a pattern"
    )
    parser.add_argument_group(
        "key=value",
        "a key of data.sources, for all files: fields.question=Frage shape=qa split=test, "
        "and hub=owner/name in place of a file; "
        "in a repository also one of the configuration: data.policies.unanswered=cut",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show how files of rows are read, what becomes of the rows, and some of them with the trained text marked.

    No model is needed, and nothing is written. Exit with 1 when no row is left to train on.
    """
    from refrain.experiments import data_preview, data_settings, data_table

    settings = list(filter(data_settings.is_setting, options.arguments))
    source_settings = list(filter(data_settings.is_source_key, settings))
    overrides = [setting for setting in settings if setting not in source_settings]
    names = [argument for argument in options.arguments if argument not in settings]
    sources = data_settings.make_sources(names, source_settings)
    data, seed = data_settings.read_data_config(sources, overrides)
    preview = data_preview.preview_data(data, seed)
    print(data_table.describe_preview(preview))
    if preview.problem:
        raise ValueError(preview.problem)
    is_here = data_settings.is_repository()
    if is_here and is_feedback(names) and not source_settings:
        print("\nbehind the rows of before, which a model that learns feedback alone forgets (docs/loop.md):")
        print(shlex.join(["dvc", "exp", "run", *as_options(["data=feedback", *overrides])]))
        return 0
    if not is_here:
        sources = data_settings.make_sources([str(Path(name).absolute()) for name in names], source_settings)
    wanted = as_options([*data_settings.source_overrides(sources), *overrides])
    print(f"\n{'' if is_here else 'in a repository of Refrain: '}{shlex.join(['dvc', 'exp', 'run', *wanted])}")
    return 0


def is_feedback(names: list[str]) -> bool:
    """Whether all files are what people said on the page of the server."""
    from refrain.serving.lineage import feedback

    written = {file.resolve() for file in (feedback.FILE, feedback.pairs_file(feedback.FILE))}
    return bool(names) and all(Path(name).resolve() in written for name in names)


def as_options(overrides: list[str]) -> list[str]:
    """As dvc exp run takes them."""
    return [word for override in overrides for word in ("-S", override)]
