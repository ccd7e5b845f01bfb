"""`refrain clean`: free what stopped trainings have left."""

import argparse
from typing import Any

HELP = "remove checkpoints that nobody needs"


def add_parser(commands: Any) -> None:
    commands.add_parser("clean", description=run.__doc__).set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Remove the checkpoints of trainings that were stopped and that no process works on now: they start over then."""
    from refrain.training import checkpoints

    print(f"{checkpoints.remove_stale_checkpoints() / 1e6:.1f} MB of checkpoints removed")
    return 0
