"""What every objective asks of a model: the log-probability of the labelled tokens of some rows."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch.nn.utils.rnn import pad_sequence

from refrain.chat.encoding import IGNORE_INDEX, Features
from refrain.training.cpu.onednn import count_missing
from refrain.training.row_layout import Row, build_layout, number_tokens

Text = tuple[int, ...]
LogprobFunction = Callable[[list[Features]], torch.Tensor]  # rows to their summed log-probabilities, of some model


def count_labels(row: Features) -> int:
    """How many of its tokens are learned: the first has no place before it from which it could be foretold."""
    return sum(label != IGNORE_INDEX for label in row["labels"][1:])


def sequence_logprobs(model: Any, rows: list[Features], packed: bool) -> torch.Tensor:
    """Summed natural log-probability of the labelled tokens, one fp32 number a row; the same packed and padded.

    Logits are computed where a label follows and nowhere else: with a large vocabulary they are most of the memory.
    Rows of the same ids, which ask about different parts of one text, are one row of the pass. Tokens after which
    nothing is labelled stay out. Packed on a CPU, what rows begin with in common is computed once; a packed batch needs
    a model under `packing.packed_attention`.
    """
    device = next(model.parameters()).device
    texts = list(dict.fromkeys(tuple(row["input_ids"]) for row in rows))
    owners, labels, columns = find_label_positions(rows, texts, device)
    needed = cut_tails(texts, owners, columns)
    if packed:
        batch, packed_rows = pack_rows(needed, device)
        places = [packed_rows[owner][column] for owner, column in zip(owners.tolist(), columns.tolist(), strict=True)]
        positions = fill_up(torch.tensor(places, dtype=torch.long, device=device), 0)
        labels = fill_up(labels, IGNORE_INDEX)
        logits = compute_logits_at(model, positions, **batch).squeeze(0)
    else:
        positions, places = columns.unique(return_inverse=True)
        logits = compute_logits_at(model, positions, **pad_rows(needed, device))[owners, places]
    logprobs = -F.cross_entropy(logits.float(), labels, reduction="none", ignore_index=IGNORE_INDEX)[: len(owners)]
    return torch.stack([part.sum() for part in logprobs.split([count_labels(row) for row in rows])])


def cut_tails(texts: list[Text], owners: torch.Tensor, columns: torch.Tensor) -> list[Text]:
    """The texts up to the last token whose logits are asked for, and at least one token: none sees those after it."""
    ends = torch.ones(len(texts), dtype=torch.long, device=owners.device)
    ends = ends.scatter_reduce(0, owners, columns + 1, "amax")
    return [text[:end] for text, end in zip(texts, ends.tolist(), strict=True)]


def fill_up(numbers: torch.Tensor, filler: int) -> torch.Tensor:
    """The numbers, and on a CPU as many more as make products with them of a shape that will come again."""
    missing = count_missing(len(numbers)) if numbers.device.type == "cpu" else 0
    return F.pad(numbers, (0, missing), value=filler)


def find_label_positions(
    rows: list[Features], texts: list[Text], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each labelled token: the number of its text, the label, and the column of the token before it."""
    numbers = {ids: number for number, ids in enumerate(texts)}
    places = [
        (numbers[tuple(row["input_ids"])], label, column)
        for row in rows
        for column, label in enumerate(row["labels"][1:])
        if label != IGNORE_INDEX
    ]
    owners, labels, columns = torch.tensor(places, dtype=torch.long, device=device).reshape(-1, 3).T
    return owners, labels, columns


def compute_logits_at(model: Any, columns: torch.Tensor, **inputs: Any) -> torch.Tensor:
    """The logits of the columns `kept`; an architecture that cannot leave columns out computes them all."""
    if "logits_to_keep" in inspect.signature(unwrap_model(model).forward).parameters:
        return torch.as_tensor(model(**inputs, use_cache=False, logits_to_keep=columns).logits)
    return torch.as_tensor(model(**inputs, use_cache=False).logits[:, columns])


def unwrap_model(model: Any) -> Any:
    """The transformers model inside what DDP, FSDP, a compiler or an adapter have wrapped around it."""
    while inner := getattr(model, "module", None) or getattr(model, "_orig_mod", None):
        model = inner
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def pack_rows(texts: list[Text], device: torch.device) -> tuple[dict[str, Any], list[Row]]:
    """One row [1, tokens] of all, and where in it the tokens of each text are; a last row may fill it up.

    On a CPU texts share what they begin with; elsewhere the sum of its gradients would come in any order.
    """
    is_cpu = device.type == "cpu"
    ids, positions, rows = number_tokens(texts, shares=is_cpu)
    missing = count_missing(len(ids)) if is_cpu else 0
    filler = [[*range(len(ids), len(ids) + missing)]] if missing else []
    inputs = {"input_ids": [*ids, *[0] * missing], "position_ids": [*positions, *range(missing)]}
    batch = {name: torch.tensor([numbers], device=device) for name, numbers in inputs.items()}
    return {**batch, "row_layout": build_layout(rows + filler, device)}, rows


def pad_rows(texts: list[Text], device: torch.device) -> dict[str, torch.Tensor]:
    """A batch [rows, tokens] padded on the right; padding is not attended to."""
    ids = [torch.tensor(text, device=device) for text in texts]
    return {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
    }
