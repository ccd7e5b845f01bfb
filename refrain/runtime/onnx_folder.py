"""A folder with an exported model: which files hold it, which of the two graphs it is, and how large it is.

The compact graph is drawn by refrain.exporters and takes `logits_at`; any other is one that optimum has traced. What
config.json says is asked of refrain.chat.model_folder, for a folder with weights has one too.
"""

from pathlib import Path

from onnxruntime import InferenceSession

GRAPH = "model.onnx"
EXTERNAL_DATA = "model.onnx.data"  # the weights, where they do not lie in the graph
CONFIGS = ("config.json", "generation_config.json")  # what the runtime and other people's read beside the graph


def has_model(folder: Path) -> bool:
    """Whether there is a graph in a folder; its weights may still be missing."""
    return (folder / GRAPH).is_file()


def model_files(folder: Path) -> list[Path]:
    """The graph and its weights."""
    return sorted(folder.glob(f"{GRAPH}*"))


def model_bytes(folder: Path) -> int:
    """Bytes of the graph and its weights."""
    return sum(file.stat().st_size for file in model_files(folder))


def is_compact(session: InferenceSession) -> bool:
    """Whether an open graph is the compact one."""
    values = [*session.get_inputs(), *session.get_overridable_initializers()]  # it may have a default
    return "logits_at" in {value.name for value in values}
