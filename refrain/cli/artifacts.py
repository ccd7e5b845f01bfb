"""The `refrain` command: talk to an exported model, answer a file of prompts, measure, check, rebuild, show results."""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from refrain.pipeline import manifest, paths


def bench(options: argparse.Namespace) -> int:
    """Measure the speed of every variant in models/onnx on this machine; reports/variants.md keeps table and plot."""
    from refrain.experiments import bench as speed
    from refrain.experiments import bench as variants

    folders = [paths.ONNX / name for name in variants.passing_variants(paths.ONNX)]
    rounds = list(speed.measure_rounds(folders, options.threads, options.rounds))
    print(variants.write_report(paths.ONNX, speed.medians(rounds), speed.machine_line(options.threads), variants.TABLE))
    return 0


def check(options: argparse.Namespace) -> int:
    """Compare a folder with the checksums in its manifest.json; name each bad file and exit with 1."""
    wrong = manifest.problems(options.folder)
    print("\n".join(wrong) or f"whole: {len(manifest.read(options.folder)['files'])} files")
    return 1 if wrong else 0


def info(options: argparse.Namespace) -> int:
    """Where an artifact comes from: base, data, adapter, libraries, processor, and the commits that recorded it."""
    from refrain.experiments import lineage as source  # --help should not wait for DVC

    print(source.lineage_report(options.folder))
    return 0


def verify(options: argparse.Namespace) -> int:
    """Rebuild a commit from nothing in another folder, and compare all that its stages make with what it recorded."""
    from refrain.experiments import rebuild
    from refrain.experiments import verify as proof
    from refrain.pipeline import revisions

    commit, recorded = revisions.resolve_commit(options.rev), revisions.read_lock(options.rev)
    if revisions.git("status", "--porcelain"):
        print(f"there are changes that are not committed; {commit[:12]} is rebuilt without them", file=sys.stderr)
    with ExitStack() as files:
        folder = options.folder or Path(files.enter_context(tempfile.TemporaryDirectory(prefix="refrain-")))
        rebuild.clone(commit, folder)
        start = time.perf_counter()
        for stage in rebuild.rerun(folder):
            print(f"{time.perf_counter() - start:6.0f} s  {stage}", file=sys.stderr, flush=True)
        rebuilt = rebuild.finished_stages(folder)
        rows = proof.compare(recorded, rebuilt, folder)
        print(proof.table(rows))
        if all(row.same for row in rows):
            print(f"\nthe same bytes as {commit[:12]} recorded")
            return 0
        from refrain.experiments import verify as drift  # loads torch

        print(
            "",
            *proof.differing_files(rows, folder),
            drift.drift_report(commit, recorded, rebuilt, folder),
            "",
            sep="\n",
        )
        print(proof.first_difference(rows, recorded, rebuilt, folder))
        return 1


def audit(options: argparse.Namespace) -> int:
    """Hold what would be learned against every row of data/prepared; exit with 1 when an invariant is violated."""
    from refrain.experiments import audit_table as inspection

    shown, fine = inspection.audit_report()
    print(shown)
    return 0 if fine else 1


def clean(options: argparse.Namespace) -> int:
    """Remove the checkpoints of trainings that were stopped and that no process works on now: they start over then."""
    from refrain.training import checkpoints

    print(f"{checkpoints.remove_stale() / 1e6:.1f} MB of checkpoints removed")
    return 0


def report(options: argparse.Namespace) -> int:
    """The metrics of every model, the proof of every link, and test questions with what each model says."""
    from refrain.experiments import results as outcome

    print(outcome.results_report(paths.METRICS, paths.PARITY, paths.PREDICTIONS, options.samples))
    return 0
