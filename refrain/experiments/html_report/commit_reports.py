"""The reports of a commit, tag or experiment: what Git keeps of it, and what DVC does, side by side for a moment."""

import tempfile
from pathlib import Path

from refrain.experiments import bench
from refrain.experiments.comparison import runs
from refrain.experiments.comparison.object_store import DIRECTORY, ObjectStore
from refrain.experiments.html_report.run_reports import RunReports, read_folder, read_workspace
from refrain.pipeline import dvc_files, manifest, paths, revisions

OF_DVC = (paths.TRAIN_REPORT, paths.MERGE_REPORT, paths.PARITY, paths.GGUF_REPORT, paths.LOSS, paths.PREDICTIONS)
OF_GIT = (paths.DATA_REPORT, paths.METRICS, paths.SUMMARY, bench.TABLE)


def read_commit(name: str) -> RunReports:
    """All that is left of a run; ValueError where it has no scores."""
    run = runs.find_run(name, paths.BEST)
    if not run.commit:
        return read_workspace()
    hashes = dvc_files.output_hashes(run.lock)
    if str(paths.METRICS) not in hashes:
        raise ValueError(f"{name}: its dvc.lock lists no {paths.METRICS}, so evaluate did not run in it; name another")
    with tempfile.TemporaryDirectory() as scratch, ObjectStore() as store:
        root = Path(scratch)
        for path in OF_GIT:
            write(root / path, revisions.read_git_file(run.commit, str(path)).encode())
        missing = [reason for path in OF_DVC if str(path) in hashes
                   for reason in fetch(store, hashes[str(path)], root / path, path)]  # fmt: skip
        fetch_manifest(store, hashes.get(str(paths.ONNX)), root / paths.ONNX / manifest.MANIFEST)
        notes = [f"run: {run.describe()}", *(f"missing: {reason}" for reason in missing)]
        return read_folder(root, run.lock, set(), notes)


def fetch(store: ObjectStore, md5: str, place: Path, path: Path) -> list[str]:
    """Put a file or folder of DVC into a place; why not, where nothing has it."""
    try:
        if not md5.endswith(DIRECTORY):
            write(place, store.read(md5))
            return []
        for name, each in store.list_folder(md5).items():
            write(place / name, store.read(each))
    except LookupError as error:
        return [f"{path}, for {error.args[0]}; `dvc fetch --all-commits` brings what others have pushed"]
    return []


def fetch_manifest(store: ObjectStore, md5: str | None, place: Path) -> None:
    """Put the manifest of an artifact into a place, where it is to be had: the page says less without."""
    try:
        if md5 is not None:
            write(place, store.read(store.list_folder(md5)[manifest.MANIFEST]))
    except LookupError:
        return


def write(place: Path, content: bytes) -> None:
    """A file of what there is; none of nothing."""
    if content:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
