"""Whether what is in the workspace may be published: whole, and what the last commit recorded."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from refrain.evaluation.model_card import publication
from refrain.pipeline import dvc_files, front_matter, git, manifest, paths

MOST_NAMES = 3  # of files, in a sentence


def require_whole() -> None:
    """ValueError for an artifact that is not there, or of which a byte is not what its manifest lists."""
    if not (paths.ONNX / manifest.MANIFEST).is_file():
        raise ValueError(
            f"{paths.ONNX}: there is no artifact; `dvc pull {paths.ONNX}` fetches it, `dvc repro` makes it"
        )
    if problems := manifest.find_problems(paths.ONNX):
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ValueError(f"{paths.ONNX}/{problems[0]}{more}; `dvc checkout --force {paths.ONNX}` brings back what was "
                         "recorded")  # fmt: skip
    if not (paths.ONNX / front_matter.CARD).is_file():
        raise ValueError(f"{paths.ONNX}: it has no {front_matter.CARD}; `dvc repro` writes it")


def require_committed(folders: Sequence[Path]) -> None:
    """ValueError unless the workspace is that of the last commit, and these folders are what it recorded."""
    if changes := list(find_changes(folders)):
        raise ValueError(f"{changes[0]}; commit first, or publish it as it is with --allow-dirty")


def find_changes(folders: Sequence[Path]) -> Iterator[str]:
    """What differs from the last commit, a sentence each."""
    if not git.commit_of("HEAD"):
        yield "no commit is here that could say where this comes from"
        return
    if changed := git.run_git("status", "--porcelain", "--untracked-files=no").splitlines():
        names = [line[3:] for line in changed]
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        yield f"not committed: {', '.join(names[:MOST_NAMES])}{more}"
    recorded = dvc_files.output_hashes(dvc_files.committed_lock())
    for folder in folders:
        if recorded.get(str(folder)) != manifest.dvc_md5(folder):
            yield f"{folder} is not what the dvc.lock of the last commit names"


def require_beside(folder: Path) -> None:
    """ValueError unless a further folder is there, and is the one that the artifact was made of where it says so."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder; `dvc pull {folder}` fetches it, `dvc repro` makes it")
    if folder == paths.GGUF and not any(folder.glob("*.gguf")):
        raise ValueError(f"{folder}: it holds no GGUF file, for none was asked for; `dvc exp run -S gguf=q8_0` "
                         "makes one")  # fmt: skip
    if (folder / manifest.MANIFEST).is_file() and (problems := manifest.find_problems(folder)):
        raise ValueError(f"{folder}/{problems[0]}; `dvc checkout --force {folder}` brings back what was recorded")
    expected = manifest.read_manifest(paths.ONNX).get("made_of", {}).get(str(folder))
    if expected not in (None, manifest.dvc_md5(folder)):
        raise ValueError(f"{folder}: the artifact was made of another one; `dvc checkout --force {folder}` brings back "
                         "what was recorded")  # fmt: skip


def read_card(may_lack_scores: bool) -> str:
    """The card with scores; ValueError where it is of another artifact, unless it may lack them."""
    plain = (paths.ONNX / front_matter.CARD).read_text(encoding="utf-8")
    scored = paths.MODEL_CARD.read_text(encoding="utf-8") if paths.MODEL_CARD.is_file() else ""
    if publication.is_of_same_artifact(scored, plain):
        return scored
    if may_lack_scores:
        return plain
    why = f"it is of another artifact than {paths.ONNX}" if scored else "there is no such file"
    raise ValueError(f"{paths.MODEL_CARD}: {why}; `dvc repro evaluate` writes it, or publish without scores with "
                     "--allow-dirty")  # fmt: skip


def describe_commit() -> str:
    """The commit that is published from, for a message."""
    commit = git.commit_of("HEAD")
    if not commit:
        return "no commit"
    is_dirty = bool(git.run_git("status", "--porcelain", "--untracked-files=no"))
    return f"commit {commit}{', with changes that are not committed' if is_dirty else ''}"
