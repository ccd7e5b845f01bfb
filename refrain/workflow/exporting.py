"""`refrain.export`: the stages merge, export_onnx and evaluate, in the folder where a model was trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from refrain.experiments.text_tables import number_table
from refrain.pipeline import manifest, paths
from refrain.runtime import onnx_folder
from refrain.workflow import settings
from refrain.workflow.finetuning import FineTuned
from refrain.workflow.settings import ExportSettings
from refrain.workflow.workspace import Workspace, compose_presets

PLACES = {"top1": 4, "kl": 6, "greedy": 3, "rouge": 4}  # what is shown of a proof, and digits


@dataclass(frozen=True)
class Exported:
    """An ONNX artifact, each variant proven to say what the merged model says; `refrain.load(folder)` opens it."""

    run: Path

    @property
    def folder(self) -> Path:
        """The artifact: a folder of variants, the best of them once more as `best`, and manifest.json."""
        return self.run / paths.ONNX

    @property
    def best(self) -> str:
        """The variant of least cost among those that reach their thresholds."""
        return str(manifest.read_manifest(self.folder)["best"])

    @property
    def parity(self) -> dict[str, Any]:
        """What was measured of each variant against the merged model, as reports/parity.json has it.

        By variant `top1`, the share of positions with the same likeliest token; `kl`, nats; `greedy`, the share of
        equal tokens; `rouge`, 0 to 1; `fails`, why it is left out; the others say how much was compared.
        """
        return dict(Workspace(self.run).read_report(paths.PARITY))

    def evaluate(self) -> dict[str, dict[str, float]]:
        """The metrics of the base, the merged model and every variant on the test rows, as reports/metrics.json."""
        workspace = Workspace(self.run)
        with workspace.alone():
            workspace.run("evaluate")
        return dict(workspace.read_report(paths.METRICS))

    def __repr__(self) -> str:
        proofs = {name: proof for name, proof in self.parity.items() if isinstance(proof, dict) and "fails" in proof}
        rows = [["", "MB", *PLACES, ""]]
        for name, proof in proofs.items():
            size = onnx_folder.model_bytes(self.folder / name) / 1e6 if (self.folder / name).is_dir() else 0.0
            numbers = [
                f"{proof[key]:.{digits}f}" if proof.get(key) is not None else "-" for key, digits in PLACES.items()
            ]
            remark = "; ".join(proof["fails"]) or ("best" if name == self.best else "")
            rows.append([name, f"{size:.1f}" if size else "left out", *numbers, remark])
        return number_table(rows)


def export(
    model: FineTuned | str | Path,
    variants: Sequence[str] | None = None,
    **given: Unpack[ExportSettings],
) -> Exported:
    """The model as ONNX: the stages merge and export_onnx, as `dvc repro` runs them, with the same bytes.

    `model` is what `finetune` gave, or its folder; `variants` are of "fp32", "int8" and "int4", all of them where none
    are named. Keywords are the keys of `export`: `best`, `graph`, `prompts` (rows that are compared), `steps` (tokens
    of each reply), ... A variant that misses its thresholds is left out, and `parity` says why.
    ValueError when the merge or a required variant fails its proof, and for settings that cannot be.
    """
    workspace = Workspace(Path(model.folder if isinstance(model, FineTuned) else model).absolute())
    overrides = [*workspace.recall(), *choose_variants(variants), *settings.export_overrides(given)]
    with workspace.alone():
        workspace.compose(overrides)
        for stage in ("merge", "export_onnx"):
            workspace.run(stage)
    return Exported(workspace.folder)


def choose_variants(variants: Sequence[str] | None) -> list[str]:
    """Overrides that leave out what is not named; ValueError for a name that the preset lacks."""
    if variants is None:
        return []
    names = [variants] if isinstance(variants, str) else list(variants)
    known = list(compose_presets([])["export"]["variants"])
    for name in names:
        if name not in known:
            raise ValueError(f"variants: {name!r} is none of {', '.join(known)}")
    return [f"~export.variants.{name}" for name in known if name not in names]
