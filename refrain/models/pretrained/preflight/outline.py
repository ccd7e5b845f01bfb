"""The files that merging will leave, as names and shapes: what an exporter can judge before a step is trained."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import PreTrainedModel

from refrain.models.pretrained import translation
from refrain.models.pretrained.preflight import model_class
from refrain.models.pretrained.preflight.headers import WEIGHTS, read_headers, write_without_values
from refrain.models.pretrained.preflight.loading_report import load_on_meta


@contextmanager
def merged_outline(folder: Path) -> Iterator[Path]:
    """A folder with the outline of the model in another one, for as long as it is looked at."""
    with tempfile.TemporaryDirectory() as scratch:
        write_outline(folder, Path(scratch))
        yield Path(scratch)


def write_outline(folder: Path, out: Path) -> None:
    """`out` holds config.json as transformers saves it, and model.safetensors in fp32, whose values take no space."""
    config = model_class.build_config(translation.read_translated(folder))
    model = load_on_meta(config, read_headers(folder)).model
    with model_class.quiet():
        model.config.save_pretrained(out)
    tensors = saved_tensors(model)
    offset, header = 0, {}
    for name, tensor in sorted(tensors.items()):
        end = offset + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    write_without_values(out / WEIGHTS, header)


def saved_tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """What save_pretrained writes: a tensor that is tied to another is saved once."""
    saved, seen = {}, set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            saved[name] = tensor
    return saved
