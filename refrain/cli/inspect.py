"""`refrain inspect`: whether a model gets through to the end, and what that takes."""

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

from refrain.cli.repository import typed_model

HELP = "show what a model is, and what it takes"
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("inspect", description=run.__doc__)
    parser.add_argument(
        "model", type=typed_model, metavar="MODEL", help="a folder, or a repository of the Hub as owner/name[@revision]"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="of the configuration: method=full train.batch_size=8"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show what a model is, whether the way through all stages is open, and what these take; exit with 1 if it is not.

    Of a repository of the Hub the small files are fetched, and of its weights the names and shapes alone.
    """
    from refrain.experiments import inspection, model_table
    from refrain.models.pretrained.facts import read_facts

    cfg = inspection.read_config(options.overrides)
    with tempfile.TemporaryDirectory(prefix="refrain-") as scratch:
        folder = find_folder(options.model, Path(scratch))
        inspection.require_model(folder, options.model)
        if reasons := inspection.find_file_reasons(folder, options.model):
            return print_reasons(reasons)
        facts = read_facts(folder)
        print(model_table.facts_table(folder, facts, cfg.template.jinja if cfg else None), flush=True)
        verdict = inspection.judge(folder, cfg)
        if verdict.reasons:
            return print_reasons(verdict.reasons)
        print(f"\nopen to the end: {verdict.exporter}\n", flush=True)
        print(inspection.describe_needs(folder, facts, cfg) if cfg else inspection.NO_ESTIMATES)
    return 0


def print_reasons(reasons: list[str]) -> int:
    """Why the way is not open, and the exit code that says so."""
    print("\nnot open:", *(f"  {reason}" for reason in reasons), sep="\n")
    return 1


def find_folder(model: str, scratch: Path) -> Path:
    """The folder, or in `scratch` what the Hub has of a repository beside its weights."""
    if Path(model).is_dir():
        return Path(model)
    repository, _, revision = model.partition("@")
    if not REPOSITORY.fullmatch(repository):
        raise ValueError(f"there is no folder {model}; give one, or a repository of the Hub as owner/name")
    from refrain.models.pretrained import hub_headers

    try:
        hub_headers.fetch_outline(repository, revision or "main", scratch)
    except ValueError as error:
        raise ValueError(f"there is no folder {model}, and on the Hub {error}") from error
    return scratch
