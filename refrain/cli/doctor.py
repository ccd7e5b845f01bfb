"""`refrain doctor`: whether a run would get through here."""

import argparse
from typing import Any

from refrain.cli import repository

HELP = "check this machine and repository"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("doctor", description=run.__doc__)
    parser.add_argument("--remote", action="store_true", help="ask remotes that are reached over a network, too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check Python, packages, Git, DVC, its cache and remotes, disk, memory, threads and processor, and say what to do.

    No network is used without --remote. Exit with 1 when something stops work.
    """
    from refrain.experiments import checkup

    findings = list(checkup.find_all(repository.find_root() is not None, options.remote))
    print(checkup.describe_findings(findings))
    return 1 if any(finding.state == "stop" for finding in findings) else 0
