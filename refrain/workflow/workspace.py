"""A folder that stages run in: laid out as the repository is, with the presets and the stages that are installed.

A stage whose settings, inputs and code are those of its last run is not run again, as with DVC.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from omegaconf import OmegaConf

import refrain
from refrain.pipeline import dvc_files, manifest, params, paths
from refrain.workflow.stage_process import run_stage, show

INSTALLED = Path(__file__).parent / "repository"
FILES = {"conf": paths.CONF, "stages": Path("stages"), "pipeline.yaml": dvc_files.PIPELINE,
         "corpus.txt": Path("data/raw/corpus.txt")}  # fmt: skip
RECORDS = Path(".refrain")  # what was asked for, and of each stage what its outputs were made of
OVERRIDES = RECORDS / "overrides.json"


@dataclass(frozen=True)
class Workspace:
    folder: Path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other process works in the folder; ValueError when one does, or when the folder is of others."""
        self.require_own()
        (self.folder / RECORDS).mkdir(parents=True, exist_ok=True)
        with (self.folder / RECORDS / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(f"{self.folder}: another process works in it; wait for it to end, or choose another "
                                 "folder by output=") from error  # fmt: skip
            copy_installed(self.folder)
            yield

    def require_own(self) -> None:
        """ValueError when the folder holds files and none says that they come from here."""
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"{self.folder}: it is a file; choose a new folder by output=")
        if self.folder.is_dir() and any(self.folder.iterdir()) and not (self.folder / RECORDS).is_dir():
            raise ValueError(f"{self.folder}: it holds files that refrain.finetune did not write; choose a new folder "
                             "by output=")  # fmt: skip

    def compose(self, overrides: list[str]) -> None:
        """params.yaml from the presets and the overrides."""
        run_stage("compose", self.folder, "--quiet", *overrides)

    def remember(self, overrides: list[str]) -> None:
        """Keep what a model was trained with, so that its export is composed on top of that."""
        (self.folder / OVERRIDES).write_text(json.dumps(overrides, indent=2) + "\n", encoding="utf-8")

    def forget(self) -> None:
        """What is in the folder is about to be another model, or to go on from a checkpoint."""
        (self.folder / OVERRIDES).unlink(missing_ok=True)

    def recall(self) -> list[str]:
        """What the model in the folder was trained with; ValueError when there is none."""
        if not (self.folder / OVERRIDES).is_file():
            raise ValueError(f"{self.folder}: there is no model whose training refrain.finetune has ended; give what "
                             "it returned, or its folder")  # fmt: skip
        return [str(override) for override in json.loads((self.folder / OVERRIDES).read_text(encoding="utf-8"))]

    def run(self, stage: str) -> None:
        """Run a stage unless all that it would make is there already."""
        record, made_of = self.folder / RECORDS / f"{stage}.json", self.describe_inputs(stage)
        if record.is_file() and json.loads(record.read_text()) == {"made_of": made_of, "outs": self.hash_outs(stage)}:
            show(f"{stage}: nothing has changed")
            return
        record.unlink(missing_ok=True)
        is_interrupted = run_stage(stage, self.folder)
        record.write_text(json.dumps({"made_of": made_of, "outs": self.hash_outs(stage)}, indent=2) + "\n")
        if is_interrupted:
            raise KeyboardInterrupt(f"after {stage}, which has ended well")

    def describe_inputs(self, stage: str) -> dict[str, Any]:
        """All that the outputs of a stage depend on: settings, files, code."""
        settings: Any = OmegaConf.load(self.folder / paths.PARAMS)
        return {
            "settings": {key: plain(OmegaConf.select(settings, key)) for key in list_stages()[stage].get("params", [])},
            "files": {dep: hash_files(self.locate(dep)) for dep in list_stages()[stage]["deps"]},
        }

    def hash_outs(self, stage: str) -> dict[str, str]:
        return {out: hash_files(self.folder / out) for out in dvc_files.list_outputs(list_stages()[stage])}

    def locate(self, dependency: str) -> Path:
        """Code is where it is installed, all else is in the folder."""
        package = Path(refrain.__file__).parent
        return package.parent / dependency if dependency.startswith(f"{package.name}/") else self.folder / dependency

    def read_report(self, path: Path) -> Any:
        """A JSON file that a stage has left."""
        return json.loads((self.folder / path).read_text(encoding="utf-8"))


def compose_presets(overrides: list[str]) -> dict[str, Any]:
    """The values that the installed presets and the overrides make; ValueError for what there is not."""
    try:
        with own_hydra():
            return params.compose_with_hydra("config", INSTALLED / paths.CONF, overrides)
    except ValueError as error:
        raise ValueError(str(error).replace(f"{INSTALLED}/", "")) from error


@contextmanager
def own_hydra() -> Iterator[None]:
    """Inside, Hydra is as new; a program that is configured by it has its own again afterwards."""
    state = Singleton.get_state()
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        Singleton.set_state(state)


def list_stages() -> dict[str, Any]:
    """The stages as dvc.yaml has them."""
    return dvc_files.parse_stages((INSTALLED / "pipeline.yaml").read_text(encoding="utf-8"))


def copy_installed(folder: Path) -> None:
    """Presets, stages and the text of the tiny base as they are installed; what is the same is left alone."""
    for name, place in FILES.items():
        source = INSTALLED / name
        for file in [source] if source.is_file() else list_files(source):
            copy = folder / place / file.relative_to(source)
            if not copy.is_file() or copy.read_bytes() != file.read_bytes():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)


def list_files(folder: Path) -> Iterator[Path]:
    """All files below a folder, those behind links too, but no bytecode; in a fixed order."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(set(folders) - {"__pycache__"})
        yield from (Path(place, name) for name in sorted(names))


def hash_files(path: Path) -> str:
    """One sha256 of a file, or of all files below a folder with their names; empty where there is nothing."""
    if path.is_file():
        return manifest.file_sha256(path)
    lines = [f"{manifest.file_sha256(file)}  {file.relative_to(path).as_posix()}" for file in list_files(path)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


def plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
