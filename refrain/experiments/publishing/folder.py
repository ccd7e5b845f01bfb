"""Publishing into a folder: all of it or nothing, and never over what somebody else put there."""

import shutil
from pathlib import Path

from refrain.experiments.publishing.plan import Content, Plan, read_published
from refrain.pipeline import manifest, paths, progress


def publish_folder(plan: Plan, out: Path) -> bool:
    """Put the files of a plan into `out` at once; False where they are there already.

    What was published there earlier is replaced; ValueError where anything else lies there.
    """
    refuse_own_places(out)
    if is_published(plan, out):
        return False
    refuse_foreign_files(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    part, earlier = (out.with_name(f".{out.name}.{word}") for word in ("part", "earlier"))
    for leftover in (part, earlier):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        for name, content in progress.with_progress(list(plan.files.items()), "files", "publish"):
            write_content(content, part / name)
        if out.exists():
            out.rename(earlier)
        try:
            part.rename(out)
        except OSError:
            if earlier.exists():
                earlier.rename(out)
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)
    return True


def write_content(content: Content, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        shutil.copyfile(content, file)


def is_published(plan: Plan, out: Path) -> bool:
    """Whether a folder holds exactly the files of a plan."""
    file = out / manifest.MANIFEST
    return file.is_file() and file.read_bytes() == plan.files[manifest.MANIFEST] and not manifest.find_problems(out)


def refuse_own_places(out: Path) -> None:
    """ValueError for a folder that the pipeline writes, or in which this repository lies."""
    here, place = Path.cwd().resolve(), out.resolve()
    own = [here / path for path in (paths.ONNX.parent, paths.PREPARED.parent, paths.DATA_REPORT.parent, paths.CONF)]
    if here.is_relative_to(place) or any(place.is_relative_to(folder) for folder in own):
        raise ValueError(f"{out}: this folder belongs to the pipeline; name a new one")


def refuse_foreign_files(out: Path) -> None:
    """ValueError naming a file that was not published by us, or was changed since."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ValueError(f"{out}: it is no folder; name a new one")
    if not out.exists() or not any(out.iterdir()):
        return
    file = out / manifest.MANIFEST
    if not file.is_file() or read_published(file.read_bytes()) is None:
        first = min(path.name for path in out.iterdir())
        raise ValueError(f"{out}: it holds {first}, which was not published from here; name a new folder")
    foreign = [problem for problem in manifest.find_problems(out) if not problem.endswith("missing")]
    if foreign:
        raise ValueError(f"{out}/{foreign[0]}, so it is not replaced; move it away, or name a new folder")
