"""A head that is said to be the table, and is stored beside it: its own values would be dropped in silence."""

from collections.abc import Iterator
from pathlib import Path

from safetensors import safe_open

from refrain.models.pretrained.preflight.headers import TensorHeader
from refrain.models.pretrained.preflight.loading_report import LoadingReport

ROWS = 4096  # compared at a time, from the first that differ the rest need not be read


def find_obstacles(folder: Path, report: LoadingReport, headers: dict[str, TensorHeader]) -> Iterator[str]:
    """The one kind of fault that names and shapes do not show."""
    names = {id(tensor): name for name, tensor in report.model.named_parameters()}
    head = next((name for name in headers if name.split(".")[-2:-1] in (["lm_head"], ["embed_out"])), None)
    table = names.get(id(report.table))
    stored = next((name for name in headers if table and (name == table or table.endswith(f".{name}"))), None)
    if not report.model.config.tie_word_embeddings or head is None or stored is None:
        return
    if not is_same(folder, headers, head, stored):
        yield (
            f"config.json: tie_word_embeddings=true, but {head} in {headers[head].file} is not {stored}; "
            "write tie_word_embeddings=false in a copy"
        )


def is_same(folder: Path, headers: dict[str, TensorHeader], one: str, other: str) -> bool:
    """Whether two tensors have the same bytes."""
    if (headers[one].dtype, headers[one].shape) != (headers[other].dtype, headers[other].shape):
        return False
    with safe_open(folder / headers[one].file, "pt") as a, safe_open(folder / headers[other].file, "pt") as b:
        first, second = a.get_slice(one), b.get_slice(other)
        rows = range(0, headers[one].shape[0], ROWS)
        return all(bool((first[i : i + ROWS] == second[i : i + ROWS]).all()) for i in rows)
