"""`refrain inspect`: whether a model gets through to the end, and what that takes."""

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

HELP = "show what a model is and needs"
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("inspect", description=run.__doc__)
    parser.add_argument("model", metavar="MODEL", help="a folder, or a repository of the Hub: owner/name[@revision]")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="values in place of conf/, as method=full train.batch_size=8"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What a model is, whether it gets through training, export and proof, and what these take; exit 1 if it does not.

    Of a repository of the Hub the small files are fetched, and of its weights the names and shapes alone.
    """
    from refrain.experiments import inspection

    with tempfile.TemporaryDirectory(prefix="refrain-") as scratch:
        folder = find_model(options.model, Path(scratch))
        report, is_open = inspection.inspection_report(folder, options.model, options.overrides)
    print(report)
    return 0 if is_open else 1


def find_model(model: str, scratch: Path) -> Path:
    """The folder, or in `scratch` what the Hub has of the repository beside its weights."""
    if Path(model).is_dir():
        return Path(model)
    repository, _, revision = model.partition("@")
    if not REPOSITORY.fullmatch(repository):
        raise ValueError(f"there is no folder {model}; give one, or a repository of the Hub as owner/name")
    from refrain.models.pretrained import hub_headers

    try:
        hub_headers.fetch_outline(repository, revision or "main", scratch)
    except ValueError as error:
        raise ValueError(f"there is no folder {model}, and as a repository of the Hub {error}") from error
    return scratch
