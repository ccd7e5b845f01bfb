"""`refrain audit`: what is learned of each row, held against the row."""

import argparse
from typing import Any

HELP = "look at what is learned of each row"


def add_parser(commands: Any) -> None:
    commands.add_parser("audit", description=run.__doc__).set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Hold what would be learned against every row of data/prepared; exit with 1 when an invariant is violated."""
    from refrain.experiments import audit_table

    table, fine = audit_table.audit_report()
    print(table)
    return 0 if fine else 1
