"""`refrain clean`: free what stopped trainings and traced answers have left."""

import argparse
from typing import Any

HELP = "remove checkpoints and gradients that nobody needs"


def add_parser(commands: Any) -> None:
    commands.add_parser("clean", description=run.__doc__).set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Remove what no process works on now: the checkpoints of trainings that were stopped, which start over then, and
    the gradients that `refrain trace` has kept, which it computes anew."""
    from refrain.models.influence import store
    from refrain.training import checkpoints

    print(f"{checkpoints.remove_stale_checkpoints() / 1e6:.1f} MB of checkpoints removed")
    if freed := store.remove_all():
        print(f"{freed / 1e6:.1f} MB of gradients removed")
    return 0
