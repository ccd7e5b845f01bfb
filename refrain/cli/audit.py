"""`refrain audit`: the trained tokens of each row, checked against the row."""

import argparse
from typing import Any

HELP = "check the loss mask of every row"


def add_parser(commands: Any) -> None:
    commands.add_parser("audit", description=run.__doc__).set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check the trained tokens (loss mask) of every row of data/prepared; exit with 1 when an invariant is violated."""
    import omegaconf  # noqa: F401  # of the extra train: where it is missing, that is the reason to give

    from refrain.experiments import audit_table

    table, is_clean = audit_table.audit_report()
    print(table)
    return 0 if is_clean else 1
