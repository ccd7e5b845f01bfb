"""`refrain info`: where an artifact comes from."""

import argparse
from typing import Any

from refrain.cli.repository import typed_path
from refrain.pipeline import paths

HELP = "show the lineage of a folder"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("info", description=run.__doc__)
    parser.add_argument(
        "folder", type=typed_path, nargs="?", default=paths.ONNX, metavar="FOLDER", help="default: %(default)s"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Where an artifact comes from: base, data, adapter, libraries, processor, and the commits that recorded it."""
    from refrain.experiments import lineage  # --help should not wait for DVC

    print(lineage.lineage_report(options.folder))
    return 0
