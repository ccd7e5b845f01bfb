"""`refrain check`: whether a folder still holds the bytes that its manifest lists."""

import argparse
from typing import Any

from refrain.cli.repository import typed_path
from refrain.pipeline import manifest

HELP = "verify the checksums of a folder"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("check", description=run.__doc__)
    parser.add_argument("folder", type=typed_path, metavar="FOLDER")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare a folder with the checksums in its manifest.json; name each bad file and exit with 1."""
    problems = manifest.find_problems(options.folder)
    print("\n".join(problems) or f"OK, {len(manifest.read_manifest(options.folder)['files'])} files match")
    return 1 if problems else 0
