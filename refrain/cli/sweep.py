"""`refrain sweep`: a search for the best values, by Optuna."""

import argparse
import importlib.util
import subprocess
import sys
from typing import Any

from refrain.cli import repository

HELP = "search for the best values"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "sweep", usage="refrain sweep key=value ... [hydra.sweeper.n_trials=N]", description=run.__doc__
    )
    parser.add_argument(
        "overrides",
        nargs="+",
        metavar="key=value",
        help="'train.lr=tag(log, interval(1e-4, 1e-2))' 'method=choice(lora, full)' 'train.epochs=range(1, 4)' search; "
        "a plain value holds for all trials; hydra.sweeper.n_trials=8 trials",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Search for the values with the best ROUGE-L of the variant that is shipped; each trial is a DVC experiment."""
    repository.require_root("a search runs in")
    if not importlib.util.find_spec("optuna"):
        raise ValueError("sweep: this command needs the extra sweep; `pip install 'refrain-lm[sweep]'` brings it")
    command = [sys.executable, "-m", "refrain.experiments.sweep", *options.overrides]
    return subprocess.run(command).returncode
