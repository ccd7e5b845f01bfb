"""The repository around a person: commands work at its root, what is typed is meant from where they stand."""

import os
from pathlib import Path

from refrain.pipeline import paths

MARKS = ("dvc.yaml", str(paths.CONF))  # what the root of a repository of Refrain has


def find_root() -> Path | None:
    """The folder here, or the nearest above, that is the root of a repository; None outside of one."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if is_root(folder)), None)


def is_root(folder: Path) -> bool:
    return all((folder / name).exists() for name in MARKS)


def require_root(purpose: str) -> Path:
    """The root of the repository around; ValueError outside of one."""
    if root := find_root():
        return root
    raise ValueError(f"{Path.cwd()}: no repository of Refrain is here or above, which {purpose}; "
                     "go to a clone of one")  # fmt: skip


def typed_path(text: str) -> Path:
    """A path that a person typed, as it is called at the root."""
    root = find_root()
    if text == "-" or root in (None, Path.cwd()) or Path(text).is_absolute():
        return Path(text)
    return Path(os.path.relpath(text, root))


def typed_model(text: str) -> str:
    """A folder as it is called at the root; a text that names none, a repository of the Hub perhaps, stays."""
    return str(typed_path(text)) if Path(text).exists() else text


def typed_rows(text: str) -> str:
    """A file, folder or pattern of rows as it is called at the root; a key=value stays."""
    from refrain.experiments import data_settings  # --help should not wait for what reads rows

    return text if data_settings.is_setting(text) else str(typed_path(text))


def enter_root() -> str:
    """Work at the root of the repository around; a remark on the paths in messages when that is elsewhere."""
    root, here = find_root(), Path.cwd()
    if root in (None, here):
        return ""
    os.chdir(str(root))
    return f" (paths as in {os.path.relpath(str(root), here)}, the root of the repository)"
