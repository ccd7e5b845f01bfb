"""Where a served model comes from, as its manifest tells and, within a repository, its commits."""

import asyncio
from pathlib import Path
from typing import Any

import yaml

from refrain.experiments import lineage
from refrain.pipeline import git, paths
from refrain.serving.models import artifact
from refrain.serving.models.model_pool import ServedModel

MOST_MODELS = 64  # whose facts are remembered


class ModelLineage:
    """The facts of each artifact: files are read and Git is asked once, in a thread."""

    def __init__(self) -> None:
        self._facts: dict[str, dict[str, Any]] = {}

    async def describe(self, model: ServedModel) -> dict[str, Any]:
        """Its name, seal, variant and commit, and what it was made of."""
        if model.seal not in self._facts:
            if len(self._facts) >= MOST_MODELS:
                self._facts.clear()
            self._facts[model.seal] = await asyncio.to_thread(collect_facts, model.folder, model.commit)
        names = {"model": model.name, "seal": model.seal, "variant": model.variant, "commit": model.commit}
        return {**names, **self._facts[model.seal]}


def collect_facts(folder: Path, commit: str | None) -> dict[str, Any]:
    """Base, data, method, libraries and processor, as far as they are known."""
    facts, _ = artifact.read_facts(folder)
    made_of = facts.get("made_of", {})
    prepared = made_of.get(str(paths.PREPARED), "")
    trained = read_training_params(made_of.get(str(paths.MERGED), ""), commit or "")
    method = trained.get("method") or {}
    return {
        "committed": git.run_git("log", "-1", "--format=%cI", commit) or None if commit else None,
        "base": lineage.describe_base(facts["base"]) if "base" in facts else None,
        "data": lineage.find_data(prepared, commit or "") or None if prepared else None,
        "data_md5": prepared or None,
        "data_sha256": facts.get("data"),
        "method": method.get("name") if isinstance(method, dict) else None,
        "seed_of_training": trained.get("seed"),
        "versions": facts.get("versions"),
        "cpu": facts.get("cpu"),
    }


def read_training_params(merged: str, commit: str) -> dict[str, Any]:
    """What dvc.lock has of the run that trained the model: here where it is that of the workspace, else in a commit."""
    lock = Path("dvc.lock")
    text = lock.read_text(encoding="utf-8") if lock.is_file() else ""
    if not merged or merged not in text:
        text = git.run_git("show", f"{commit}:./dvc.lock") if commit else ""
    try:
        params: dict[str, Any] = yaml.safe_load(text)["stages"]["train"]["params"]["params.yaml"]
        return dict(params)
    except (yaml.YAMLError, LookupError, TypeError, ValueError):
        return {}
