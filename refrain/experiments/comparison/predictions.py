"""What a run said to the test rows, as DVC keeps it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec

from refrain.evaluation.scores import variant_name
from refrain.evaluation.scoring import Prediction
from refrain.experiments.comparison.object_store import ObjectStore
from refrain.experiments.comparison.runs import Run
from refrain.pipeline import dvc_files, manifest, paths

T = TypeVar("T")
Reader = Callable[[], bytes]


@dataclass(frozen=True)
class RunPredictions:
    """The rows of a run, of one variant."""

    run: Run
    variant: str  # best is resolved
    rows: list[Prediction]
    is_recorded: bool = True  # as dvc.lock lists them


def read_pairs(store: ObjectStore, pairs: Sequence[tuple[Run, Run]]) -> list[tuple[RunPredictions, RunPredictions]]:
    """The predictions of candidates and baselines, each run read once."""
    found = {run: read_predictions(store, run) for run in dict.fromkeys(run for pair in pairs for run in pair)}
    return [(found[candidate], found[baseline]) for candidate, baseline in pairs]


def read_predictions(store: ObjectStore, run: Run) -> RunPredictions:
    """The predictions of a run; ValueError with the way out for missing or damaged ones, and for an unknown variant."""
    files = open_folder(store, run)
    models = {variant_name(name.removesuffix(".jsonl")): read for name, read in files.items()}
    if not models:
        raise ValueError(f"{run.name}: {paths.PREDICTIONS} is empty; `dvc checkout` brings back what evaluate wrote, "
                         "`dvc repro` makes it anew")  # fmt: skip
    variant = find_best(store, run) if run.variant == paths.BEST else run.variant
    if variant not in models:
        raise ValueError(f"{run.name}: it has no predictions of {variant}; there are {', '.join(sorted(models))}")
    content = fetch(run, models[variant])
    rows = parse_predictions(content, f"{paths.PREDICTIONS} of {run.name}, {variant}")
    return RunPredictions(run, variant, rows, is_recorded(run))


def open_folder(store: ObjectStore, run: Run) -> dict[str, Reader]:
    """The files of predictions of a run, by their names, and how each is read."""
    if not run.commit and paths.PREDICTIONS.is_dir():
        return {file.name: file.read_bytes for file in sorted(paths.PREDICTIONS.glob("*.jsonl"))}
    md5 = dvc_files.output_hashes(run.lock).get(str(paths.PREDICTIONS))
    if md5 is None:
        raise ValueError(f"{run.name}: its dvc.lock lists no {paths.PREDICTIONS}, so evaluate did not run in it; `dvc "
                         "repro` runs it in a checkout")  # fmt: skip
    listed = fetch(run, partial(store.list_folder, md5))
    return {name: partial(store.read, each) for name, each in listed.items()}


def fetch(run: Run, read: Callable[[], T]) -> T:
    """What is read of the predictions of a run; ValueError with the ways to get them where nothing has them."""
    try:
        return read()
    except LookupError as error:
        raise ValueError(f"{paths.PREDICTIONS} of {run.name}: {error.args[0]}; {ways_to_get(run)}") from error


def ways_to_get(run: Run) -> str:
    """How predictions that are nowhere here come here."""
    if not run.commit:
        return "`dvc repro` makes them"
    anew = f"or `dvc repro` in a checkout of {run.commit[:12]} makes them anew"
    if run.kind == "experiment":
        return f"whoever ran it pushes them with `dvc exp push`, `dvc exp pull` brings them here, {anew}"
    return f"whoever ran it pushes them with `dvc push`, `dvc fetch --all-commits` brings them here, {anew}"


def find_best(store: ObjectStore, run: Run) -> str:
    """The variant that a run ships, by the manifest of its artifact."""
    file = paths.ONNX / manifest.MANIFEST
    try:
        if not run.commit and file.is_file():
            content = file.read_bytes()
        else:
            listed = store.list_folder(dvc_files.output_hashes(run.lock)[str(paths.ONNX)])
            content = store.read(listed[file.name])
        return str(msgspec.json.decode(content)["best"])
    except (LookupError, msgspec.DecodeError) as error:
        raise ValueError(f"{run.name}: which variant is the best stands in {file}, which is not to be had; name "
                         f"one: {run.name}:int8, or --variant int8") from error  # fmt: skip


def parse_predictions(content: bytes, source: str) -> list[Prediction]:
    """The rows of a file that evaluate wrote; ValueError with the line of one that is none."""
    decoder = msgspec.json.Decoder(Prediction)
    rows = []
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            rows.append(decoder.decode(line))
        except msgspec.DecodeError as error:
            raise ValueError(f"{source}, line {number}: it is no prediction as evaluate writes them ({error}); "
                             "`dvc checkout` brings the file back, `dvc repro` makes it anew") from error  # fmt: skip
    return rows


def is_recorded(run: Run) -> bool:
    """Whether what is compared is what dvc.lock lists; in the workspace it may be something else."""
    if run.commit or not paths.PREDICTIONS.is_dir():
        return True
    lock = dvc_files.current_lock()
    return manifest.dvc_md5(paths.PREDICTIONS) == dvc_files.output_hashes(lock).get(str(paths.PREDICTIONS))
