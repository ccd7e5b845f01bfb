"""Whether a model gets through to the end and what that takes, before the first minute is spent on it."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from refrain.chat import encoding
from refrain.experiments import estimates
from refrain.experiments.machine import Machine, measure_machine
from refrain.experiments.text_tables import number_table
from refrain.models.pretrained import resources
from refrain.models.pretrained.facts import ModelFacts
from refrain.pipeline import paths
from refrain.pipeline.cores import available_cores
from refrain.pipeline.plurals import format_count

if TYPE_CHECKING:  # what serves inspects a folder without it
    from refrain.pipeline.schema import Config


NO_ESTIMATES = "no estimates: they are made in a repository of Refrain, with the extra train installed"


@dataclass(frozen=True)
class Verdict:
    exporter: str  # which draws the model, as a sentence
    reasons: list[str]  # why the way is not open; none where it is


def require_model(folder: Path, name: str) -> None:
    """ValueError for a folder of another kind, and which it is."""
    files = {path.name for path in folder.iterdir()}
    if "adapter_config.json" in files:
        raise ValueError(f"{name}: it holds an adapter; inspect its base, or the model that it was merged into")
    if "model.onnx" in files:
        raise ValueError(f"{name}: it holds a graph, which was exported; inspect the model that it was drawn from")
    if "config.json" not in files:
        raise ValueError(f"{name}: config.json is missing; give a model in the format of transformers")


def read_config(overrides: list[str]) -> "Config | None":
    """How the repository that this is would fine-tune a model of its own; None elsewhere, and where only what serves is
    installed.

    With overrides, or where params.yaml is of the embedded base, it is conf/ with model=folder: rates, epochs and ranks
    are other ones there.
    """
    if overrides and not paths.CONF.is_dir():
        raise ValueError(f"{overrides[0]}: there is no conf/ here that it could change; go to a repository of Refrain")
    if not overrides and not (paths.CONF.is_dir() and importlib.util.find_spec("hydra")):
        return None
    from refrain.experiments.compose import compose_params, current_params
    from refrain.pipeline.params import to_config

    current = None if overrides else to_config(current_params())
    if current is not None and current.model.tiny is None:
        return current
    return to_config(compose_params(["model=folder", "model.folder=.", *overrides]))


def judge(folder: Path, cfg: "Config | None") -> Verdict:
    """Whether the way is open for a model in whole files, by all that stages refuse before they begin."""
    from refrain.exporters.architectures.exporter_choice import choose_exporter, describe_choice
    from refrain.exporters.architectures.gguf_choice import find_gguf_obstacle
    from refrain.models.pretrained.preflight import obstacles
    from refrain.models.pretrained.preflight.outline import merged_outline

    if reasons := obstacles.find_obstacles(folder):
        return Verdict("", reasons)
    reasons = find_template_reasons(folder, cfg.template.jinja) if cfg else []
    try:
        with merged_outline(folder) as outline:
            choice = choose_exporter(outline)
            gguf_obstacle = find_gguf_obstacle(outline, folder)
    except ValueError as error:
        return Verdict("", [str(error), *reasons])
    if cfg is not None:
        from refrain.pipeline import exporter_record

        reasons += exporter_record.find_problems(cfg.export, choice.exporter, choice.reason)
        reasons += exporter_record.find_gguf_problems(cfg.gguf, gguf_obstacle)
    return Verdict(describe_choice(choice), reasons)


def find_file_reasons(folder: Path, name: str) -> list[str]:
    """Why the files cannot be loaded, or are not to be trusted; none of them was read before."""
    from refrain.models.pretrained import snapshot

    try:
        names = snapshot.list_names(folder)
        small = snapshot.select_small_files(names, name)
        for file in small:
            if file in snapshot.SETTINGS:
                snapshot.refuse_code(folder / file, name)
        weights = snapshot.select_weight_files(folder, names, name)
        if folder == Path(name):  # else it was fetched, as links to what the Hub's client keeps
            snapshot.require_inside(folder, [*small, *weights])
        if importlib.util.find_spec("safetensors"):  # without the extra train no verdict is given in any case
            for file in weights:
                snapshot.check_safetensors(folder / file, name)
    except ValueError as error:
        return [str(error)]
    return []


def find_template_reasons(folder: Path, jinja: str | None) -> list[str]:
    """Why no row could be learned with the template that is configured."""
    try:
        encoding.require_usable_template(encoding.load_tokenizer(folder, jinja))
    except ValueError as error:
        return [str(error)]
    return []


def describe_needs(folder: Path, facts: ModelFacts, cfg: "Config") -> str:
    """What each stage takes, on what the numbers stand, and what there is too little of."""
    machine, load = measure_machine(), read_load(folder, cfg)
    needs = estimates.estimate_stages(facts, cfg, load, machine)
    passes = f"passes of {format_count(estimates.largest_pass(cfg, load).tokens, 'token')}"
    asked = (
        f"estimates for method={cfg.method.name}, {format_count(cfg.train.epochs, 'epoch')}, {load.source}, {passes}"
    )
    sizes = {name: (need.memory or 0.0, need.disk or 0.0) for name, need in needs.items()}
    shortages = resources.find_shortages(sizes, machine.free_memory, machine.free_disk)
    return "\n".join([asked, needs_table(needs), describe_machine(machine), *shortages])


def read_load(folder: Path, cfg: "Config") -> estimates.Workload:
    """The rows of data/prepared; a thousand of the longest where there are none that this template takes."""
    if not (paths.PREPARED / "train.jsonl").is_file():
        return estimates.assume_workload(cfg.data.max_tokens)
    try:
        return estimates.read_workload(paths.PREPARED, encoding.load_tokenizer(folder, cfg.template.jinja))
    except ValueError:  # the rows were prepared for another template
        return estimates.assume_workload(cfg.data.max_tokens)


def needs_table(needs: dict[str, estimates.StageNeeds]) -> str:
    """Stages in their order: memory, disk and minutes."""
    rows = [["", "memory", "disk", "minutes"]]
    for name, need in needs.items():
        sizes = [resources.format_bytes(size) if size else "" for size in (need.memory, need.disk)]
        rows.append([name, *sizes, "" if need.seconds is None else format_minutes(need.seconds)])
    return "\n".join(line.rstrip() for line in number_table(rows).splitlines())


def format_minutes(seconds: float) -> str:
    return "under 1" if seconds < 60 else f"{seconds / 60:,.0f}"


def describe_machine(machine: Machine) -> str:
    """What the estimates stand on."""
    memory = [] if machine.free_memory is None else [f"{resources.format_bytes(machine.free_memory)} of memory"]
    free = " and ".join([*memory, f"{resources.format_bytes(machine.free_disk)} of disk"])
    speed = f"{machine.flops / 1e9:.0f} GFLOP/s, {machine.bandwidth / 1e9:.0f} GB/s"
    return f"measured now: {available_cores()} cores, {speed}; free are {free}"
