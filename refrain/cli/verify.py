"""`refrain verify`: a commit rebuilt from nothing, byte for byte."""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from refrain.cli.repository import typed_path

HELP = "rebuild a commit and compare"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("verify", description=run.__doc__)
    parser.add_argument("rev", nargs="?", default="HEAD", metavar="REV", help="commit or tag, default: %(default)s")
    parser.add_argument("--folder", type=typed_path, metavar="FOLDER", help="rebuild in this folder, and keep it")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Rebuild a commit from nothing in another folder, and compare all that its stages make with what it recorded."""
    from refrain.experiments import rebuild, verify  # --help should not wait for DVC
    from refrain.pipeline import git, revisions

    commit, recorded = git.resolve_commit(options.rev), revisions.read_lock(options.rev)
    if git.run_git("status", "--porcelain"):
        print(f"there are changes that are not committed; {commit[:12]} is rebuilt without them", file=sys.stderr)
    with ExitStack() as files:
        folder = options.folder or Path(files.enter_context(tempfile.TemporaryDirectory(prefix="refrain-")))
        rebuild.clone_commit(commit, folder)
        start = time.perf_counter()
        for stage in rebuild.rerun_stages(folder):
            print(f"{time.perf_counter() - start:6.0f} s  {stage}", file=sys.stderr, flush=True)
        report, is_same = verify.verification_report(commit, recorded, folder)
        print(report)
        return 0 if is_same else 1
