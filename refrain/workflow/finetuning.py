"""`refrain.finetune`: the stages base, prepare and train, and merge where it is asked for, in a folder of their own."""

import difflib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from refrain.experiments import data_settings
from refrain.experiments.override_values import to_hydra
from refrain.experiments.text_tables import text_table
from refrain.pipeline import paths
from refrain.pipeline.schema import MethodConfig, SourceConfig
from refrain.workflow import settings
from refrain.workflow.dataset import Data, load
from refrain.workflow.row_placement import read_placement
from refrain.workflow.row_sources import Rows, absolute
from refrain.workflow.settings import FinetuneSettings
from refrain.workflow.workspace import INSTALLED, Workspace

OUTPUT = Path("runs/finetune")
ROWS = Path("data/rows")  # of a workspace: rows that were in memory
NEED_VALUES = ("folder", "hub")  # presets that a path or a name stands for
CURVES = {"train": "train/loss", "val": "val/loss", "lr": "train/lr"}  # below LOSS/plots/metrics


@dataclass(frozen=True)
class FineTuned:
    """A model that was trained, in the folder where it was; `refrain.export` makes an artifact of it."""

    folder: Path
    data: Data  # as it was trained on: also with the rows that the tokenizer or the template refused

    @property
    def adapter(self) -> Path:
        """The folder of the adapter, or of all weights where the method has none, with its tokenizer."""
        return self.folder / paths.ADAPTER

    @property
    def base(self) -> Path:
        """The folder of the base model."""
        return self.folder / paths.BASE

    @property
    def report(self) -> dict[str, Any]:
        """What reports/train.json says: rows, steps, tokens, the validation loss before and after in nats."""
        return dict(Workspace(self.folder).read_report(paths.TRAIN_REPORT))

    @property
    def losses(self) -> dict[str, list[tuple[int, float]]]:
        """Curves by optimiser step: `train` and `val`, the mean loss in nats a token, and `lr`."""
        return {
            name: read_curve(self.folder / paths.LOSS / f"plots/metrics/{file}.tsv") for name, file in CURVES.items()
        }

    def merge(self) -> Path:
        """The folder of the whole model, the adapter folded in; ValueError when the merge changes what it says."""
        workspace = Workspace(self.folder)
        with workspace.alone():
            workspace.run("merge")
        return self.folder / paths.MERGED

    def __repr__(self) -> str:
        report = self.report
        loss = report["val_loss"]
        facts = {"folder": str(self.folder), "rows": f"{report['rows']:,}", "steps": f"{report['steps']:,}"}
        if loss["after"] is not None:
            facts["validation loss"] = f"{loss['before']:.3f} before, {loss['after']:.3f} after"
        return text_table(list(facts.items()))


def finetune(
    data: Data | Rows,
    model: str | Path | None = None,
    method: str | None = None,
    seed: int | None = None,
    output: str | Path = OUTPUT,
    **given: Unpack[FinetuneSettings],
) -> FineTuned:
    """Fine-tune a base on the rows: the stages base, prepare and train, as `dvc repro` runs them, with the same bytes.

    `model` is a preset ("tiny", "tiny_from_data", "smollm2-135m"), a folder of transformers, or a repository of the
    Hub ("owner/name", or "owner/name@revision"); `method` a preset ("lora", "full", "dpo", ...). Keywords are the keys
    of `train` (`lr`, a rate; `epochs`; `batch_size`, rows of an optimiser step; ...), `adapter={"rank": 8}`,
    `preference`, `tiny` and `template`; what is left out is as in conf/. `seed` also draws the splits.

    All is written to `output`, a folder of its own, laid out as the repository is. What has not changed since the last
    call is not made again; after KeyboardInterrupt the same call goes on from the last checkpoint.
    ValueError, in a sentence, for data or settings that cannot be; RuntimeError when a stage broke or was killed.
    """
    rows = data if isinstance(data, Data) else load(data)
    workspace = Workspace(Path(output).absolute())
    own = [
        *(choose_model(model) if model is not None else []),
        *([] if method is None else [f"method={method}"]),
        *settings.finetune_overrides(given | locate_corpus(given.get("tiny"))),
        *([] if seed is None else [f"seed={seed}"]),
    ]
    require_preferences(rows, rows.input.compose(*own).method)  # what cannot be is said before anything is written
    with workspace.alone():
        sources = data_settings.source_overrides(keep_rows(rows, workspace.folder))
        overrides = [*sources, *rows.input.overrides, *own]
        workspace.forget()
        workspace.compose(overrides)
        for stage in ("base", "prepare", "train"):
            workspace.run(stage)
        workspace.remember(overrides)
    return open_run(workspace.folder, rows)


def require_preferences(data: Data, method: MethodConfig) -> None:
    """ValueError when a preference loss has no row to learn from."""
    if method.preference is None:
        return
    wanted = ("rejected", "label") if method.preference.loss == "kto" else ("rejected",)
    if not any(name in row for row in data.train for name in wanted):
        raise ValueError(f"method={method.name}: none of {len(data.train)} training rows has {' or '.join(wanted)}; "
                         "choose method='lora', or give rows with chosen and rejected")  # fmt: skip


def open_run(folder: Path, data: Data) -> FineTuned:
    """What was trained in a folder, on these rows."""
    groups = {row["id"]: row["group"] for row in data if "group" in row}
    return FineTuned(folder, Data(replace(data.input, added=[*data.input.added]), read_placement(folder, groups)))


def choose_model(model: str | Path) -> list[str]:
    """Overrides for a preset, a folder or a repository of the Hub; ValueError for what is none of these."""
    presets = sorted({file.stem for file in (INSTALLED / "conf/model").glob("*.yaml")} - {*NEED_VALUES})
    if str(model) in presets:
        return [f"model={model}"]
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"model={model}: this folder has no config.json, so it is no model; name one of transformers"
            )
        return ["model=folder", f"model.folder={to_hydra(str(folder.absolute()))}"]
    name, _, revision = str(model).partition("@")
    if isinstance(model, str) and name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return [
            "model=hub",
            f"model.hub={to_hydra(name)}",
            *([f"model.revision={to_hydra(revision)}"] if revision else []),
        ]
    near = difflib.get_close_matches(str(model), presets, n=1)
    hint = f"did you mean {near[0]}?" if near else f"presets are {', '.join(presets)}"
    raise ValueError(f"model={model}: it is no preset, no folder, and no owner/name of the Hub; {hint}")


def locate_corpus(tiny: settings.Section | None) -> FinetuneSettings:
    """Where the text of a tiny base lies, for a stage that works elsewhere."""
    corpus = (tiny or {}).get("corpus")
    return {"tiny": {**(tiny or {}), "corpus": absolute(corpus)}} if corpus and Path(corpus).is_file() else {}


def keep_rows(data: Data, folder: Path) -> list[SourceConfig]:
    """The sources, with rows that were in memory as files of the run, which then needs nothing of this process."""
    shutil.rmtree(folder / ROWS, ignore_errors=True)
    scratch, result = Path(data.input.scratch.name), []
    for source in data.input.all_sources():
        if source.path and Path(source.path).is_relative_to(scratch):
            copy = ROWS / Path(source.path).relative_to(scratch)
            (folder / copy).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.path, folder / copy)
            source = replace(source, path=str(copy))
        result.append(source)
    return result


def read_curve(path: Path) -> list[tuple[int, float]]:
    """The points of a curve; none where there is no file, as without rows to validate with."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.is_file() else []
    return [(int(step), float(value)) for step, value in (line.split("\t") for line in lines)]
