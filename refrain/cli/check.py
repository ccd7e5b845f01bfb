"""`refrain check`: whether a folder still holds the bytes that its manifest lists."""

import argparse
from typing import Any

from refrain.cli.repository import typed_path
from refrain.pipeline import manifest
from refrain.pipeline.plurals import format_count

HELP = "verify the checksums of a folder"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("check", description=run.__doc__)
    parser.add_argument("folder", type=typed_path, metavar="FOLDER")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare a folder with the checksums in its manifest.json; name each bad file and exit with 1."""
    problems = manifest.find_problems(options.folder)
    count = len(manifest.read_manifest(options.folder)["files"])
    print("\n".join(problems) or f"OK, {format_count(count, 'file')} {'matches' if count == 1 else 'match'}")
    return 1 if problems else 0
