"""What is known of a model before the first minute is spent: its facts, what stands in the way, what it will take."""

from pathlib import Path
from typing import TYPE_CHECKING

from refrain.chat import encoding, templates
from refrain.chat.records import Message
from refrain.experiments import estimates
from refrain.experiments.machine import Machine, measure_machine
from refrain.experiments.text_tables import number_table, text_table
from refrain.models.pretrained import resources
from refrain.models.pretrained.facts import ModelFacts, read_facts
from refrain.pipeline import paths
from refrain.runtime import session

if TYPE_CHECKING:  # what serves inspects a folder without it
    from refrain.pipeline.schema import Config

Fact = tuple[str, str]


def inspection_report(folder: Path, name: str, overrides: list[str]) -> tuple[str, bool]:
    """What there is to say of a folder, and whether the whole way is open for it."""
    require_model(folder, name)
    facts, cfg = read_facts(folder), read_config(overrides)
    parts = [text_table([*describe_shape(facts), *describe_template(folder, cfg.template.jinja if cfg else None)])]
    if cfg is None:
        parts.append(
            "no estimates, for here is neither params.yaml nor conf/; they are made in a repository of Refrain"
        )
    elif facts.parameters:
        parts.append(describe_needs(facts, cfg, read_load(folder, cfg)))
    reasons: list[str] = []
    parts += ["not open:\n" + "\n".join(f"  {reason}" for reason in reasons)] if reasons else []
    return "\n\n".join(parts), not reasons


def require_model(folder: Path, name: str) -> None:
    """ValueError for a folder that is another kind than a model, and which it is."""
    files = {path.name for path in folder.iterdir()}
    if "config.json" not in files:
        raise ValueError(f"{name}: {describe_kind(files)}")
    if "model.onnx" in files:
        raise ValueError(
            f"{name}: it holds a graph that was exported, and nothing to train; inspect the model it is of"
        )


def describe_kind(files: set[str]) -> str:
    """What a folder without a config.json is, and the way out."""
    if "adapter_config.json" in files:
        return "it holds an adapter, which changes nothing of this; inspect its base, or the model it was merged into"
    if "manifest.json" in files:
        return "it holds variants that were exported; inspect the model they are of"
    return "config.json is missing; give a model in the format of transformers"


def read_config(overrides: list[str]) -> "Config | None":
    """The configuration of the repository that this is; None elsewhere."""
    if not paths.CONF.is_dir():
        return None
    from refrain.experiments.compose import compose_params, current_params
    from refrain.pipeline.params import to_config

    return to_config(compose_params(overrides) if overrides else current_params())


def read_load(folder: Path, cfg: "Config") -> estimates.Workload:
    """The rows of data/prepared, where there are any that this model can be taught."""
    if not (paths.PREPARED / "train.jsonl").is_file():
        return estimates.assume_workload(cfg.data.max_tokens)
    try:
        return estimates.read_workload(paths.PREPARED, encoding.load_tokenizer(folder, cfg.template.jinja))
    except ValueError:  # a reason that stands below
        return estimates.assume_workload(cfg.data.max_tokens)


def describe_needs(facts: ModelFacts, cfg: "Config", load: estimates.Workload) -> str:
    """What each stage takes, of what there is."""
    machine = measure_machine()
    needs = estimates.estimate_stages(facts, cfg, load, machine)
    largest = estimates.largest_pass(cfg, load)
    asked = f"estimates: method={cfg.method.name}, {cfg.train.epochs:g} epochs, {load.source}"
    asked += f", passes of at most {largest.tokens:,}"
    written = {name: (need.memory or 0.0, need.disk or 0.0) for name, need in needs.items()}
    shortages = resources.find_shortages(written, machine.free_memory, machine.free_disk)
    return "\n".join([asked, needs_table(needs), describe_machine(machine), *shortages])


def describe_shape(facts: ModelFacts) -> list[Fact]:
    """Family, size and shape, a line each."""
    sizes = f"{facts.parameters:,} in {facts.tensors:,} tensors of {', '.join(facts.dtypes)}"
    heads = f"{facts.heads} heads, {facts.kv_heads} of keys and values, {facts.head_dim} wide"
    window = f", a window of {facts.window:,}" if facts.window else ""
    head = "tied to the head" if facts.is_tied else "beside a head of its own"
    return [
        ("family", ", ".join(filter(None, [facts.model_type or "unknown", facts.architecture]))),
        ("parameters", f"{sizes}, {resources.format_bytes(resources.FP32 * facts.parameters)} in fp32"),
        ("context", f"{facts.context:,} tokens" if facts.context else "without an end"),
        ("attention", f"{facts.layers} layers, {heads}{window}"),
        ("table", f"{facts.vocabulary:,} tokens, {facts.width:,} wide, {head}"),
    ]


def describe_template(folder: Path, chosen: str | None) -> list[Fact]:
    """Where the template comes from and which turns it takes; the reason where there is none that works."""
    try:
        tokenizer = encoding.load_tokenizer(folder, chosen)
    except ValueError as error:
        return [("template", str(error))]
    origin = "of the configuration" if chosen else "the model's own"
    return [("template", f"{origin}, {describe_roles(tokenizer)}")]


def describe_roles(tokenizer: encoding.ChatTokenizer) -> str:
    """Which conversations a template takes, beside one that begins with the user."""
    takes = {
        "system": ["system", "user", "assistant"],
        "a first assistant turn": ["assistant", "user", "assistant"],
    }
    return ", ".join(f"{name}: {'yes' if accepts_roles(tokenizer, roles) else 'no'}" for name, roles in takes.items())


def accepts_roles(tokenizer: encoding.ChatTokenizer, roles: list[str]) -> bool:
    messages: list[Message] = [{"role": role, "content": f"words{turn}"} for turn, role in enumerate(roles)]
    try:
        text = templates.render_template(tokenizer.template, messages, tokenizer.special_tokens)
    except ValueError:
        return False
    return all(message["content"] in text for message in messages)


def needs_table(needs: dict[str, estimates.StageNeeds]) -> str:
    """Stages in their order: memory, disk and minutes."""
    rows = [["", "memory", "disk", "minutes"]]
    for name, need in needs.items():
        sizes = [resources.format_bytes(size) if size else "" for size in (need.memory, need.disk)]
        rows.append([name, *sizes, "" if need.seconds is None else format_minutes(need.seconds)])
    return number_table(rows)


def format_minutes(seconds: float) -> str:
    minutes = seconds / 60
    return "under 1" if minutes < 1 else f"{minutes:,.0f}"


def describe_machine(machine: Machine) -> str:
    """What the estimates stand on."""
    free = [] if machine.free_memory is None else [f"{resources.format_bytes(machine.free_memory)} of memory"]
    free.append(f"{resources.format_bytes(machine.free_disk)} of disk are free")
    return (
        f"{session.available_cores()} cores, {machine.flops / 1e9:.0f} GFLOP/s, {machine.bandwidth / 1e9:.0f} GB/s; "
        f"{' and '.join(free)}"
    )
