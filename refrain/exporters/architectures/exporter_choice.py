"""Which exporter draws a model, by its config.json and the headers of its tensors."""

import json
from dataclasses import dataclass
from pathlib import Path

from refrain.exporters.architectures import families

TASK = "text-generation-with-past"


@dataclass(frozen=True)
class ExporterChoice:
    exporter: str  # compact, or optimum
    reason: str | None  # why it is not compact


def choose_exporter(folder: Path) -> ExporterChoice:
    """Compact where it can draw the model, else optimum; ValueError where neither can."""
    try:
        families.require_drawable(folder)
    except ValueError as error:
        reason = str(error)
    else:
        return ExporterChoice("compact", None)
    require_traceable(folder)
    return ExporterChoice("optimum", reason)


def describe_choice(choice: ExporterChoice) -> str:
    """The choice as a sentence."""
    if choice.reason is None:
        return "the compact graph is drawn"
    return (
        f"optimum traces the graph, which is as large and speaks half as fast in fp32, a third as fast in few bits, "
        f"for {choice.reason}"
    )


def require_traceable(folder: Path) -> None:
    """ValueError unless optimum can trace the family that config.json names, with the heads that it has."""
    import optimum.exporters.onnx.model_configs  # noqa: F401 - it fills the table below
    from optimum.exporters.tasks import TasksManager

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    family = config.get("model_type")
    if family not in TasksManager.get_supported_model_type_for_task(TASK, exporter="onnx"):
        raise ValueError(
            f"config.json: model_type={family} can be exported neither as the compact graph nor by optimum; choose a "
            f"model of another family, for instance {', '.join(families.FAMILIES)}"
        )
    groups, heads = config.get("num_kv_heads"), config.get("num_attention_heads")
    if config.get("new_decoder_architecture") and groups != heads:  # its cache has every head
        raise ValueError(
            f"config.json: a {family} with new_decoder_architecture and num_kv_heads={groups} of {heads} heads can be "
            "exported neither as the compact graph nor by optimum, which takes its cache for one of the groups; choose "
            "a model of another family"
        )
