"""What a model folder says of itself in config.json and in the headers of its weights: no value of a weight is read."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refrain.models.pretrained.preflight.headers import INDEX, WEIGHTS, TensorHeader, read_headers, weight_files

TABLES = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight", "tok_embeddings.weight")
HEADS = ("lm_head.weight", "embed_out.weight", "output.weight")
POSITIONS = ("wpe.weight", "embed_positions.weight", "position_embeddings.weight")
BUFFERS = re.compile(r"\.(attn|attention)\.(bias|masked_bias)$|inv_freq$")  # no weights, though some files hold them
DROPOUTS = ("attention_dropout", "attn_pdrop")
NAMES = {  # a fact: the names that families have for it, and none where the file leaves it to the family
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "width": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv"),
    "head_dim": ("head_dim",),
    "feed_forward": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    "context": ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx"),
    "window": ("sliding_window",),
}


@dataclass(frozen=True)
class ModelFacts:
    """The shape of a decoder; what can be said neither by config.json nor by a tensor is 0."""

    model_type: str
    architecture: str
    dtypes: tuple[str, ...]  # of the weights as they are stored
    file_bytes: int  # of the weights
    tensors: int
    parameters: int  # a tied head counts once
    linears: dict[str, tuple[int, int]]  # shapes of the matrices that are neither table nor head, by name
    table: int  # parameters in the table of tokens
    lm_head: int  # ... in a head of its own; 0 where it is the table
    vocabulary: int  # rows of the table
    is_tied: bool
    has_dropout: bool  # of attention, while it learns
    has_head_norms: bool  # of queries and keys
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    context: int
    window: int

    @property
    def matrices(self) -> int:
        """Parameters in linear layers but the head: those that every token is multiplied with."""
        return sum(rows * columns for rows, columns in self.linears.values())


def read_facts(folder: Path) -> ModelFacts:
    """The facts of a folder with a config.json; one without weights has no parameters."""
    has_weights = any((folder / name).is_file() for name in (WEIGHTS, INDEX))
    tensors = read_headers(folder) if has_weights else {}
    headers = {name: entry for name, entry in tensors.items() if not BUFFERS.search(name)}
    config = read_config(folder)
    table, head = find_tensor(headers, TABLES), find_tensor(headers, HEADS)
    is_tied = head is None or bool(config.get("tie_word_embeddings", False))
    return ModelFacts(
        model_type=str(config.get("model_type", "")),
        architecture=", ".join(map(str, config.get("architectures") or [])),
        dtypes=tuple(sorted({entry.dtype for entry in headers.values()})),
        file_bytes=sum((folder / file).stat().st_size for file in weight_files(folder)) if has_weights else 0,
        tensors=len(headers),
        parameters=sum(entry.size for entry in headers.values()) - (head.size if head and is_tied else 0),
        linears=find_linears(headers),
        table=table.size if table else 0,
        lm_head=0 if is_tied or head is None else head.size,
        vocabulary=table.shape[0] if table else take_number(config, ("vocab_size",)),
        is_tied=is_tied,
        has_dropout=any(config.get(name) for name in DROPOUTS),
        has_head_norms=any(name.endswith("q_norm.weight") for name in headers),
        **read_shape(config, headers),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """config.json, of a model of words and pictures the part about words."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: it is not JSON ({error}); repair it or fetch it again") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: it is not a JSON object; repair it or fetch it again")
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else config


def find_linears(headers: dict[str, TensorHeader]) -> dict[str, tuple[int, int]]:
    """The matrices of a decoder's layers."""
    apart = tuple(f".{end}" for end in (*TABLES, *HEADS, *POSITIONS))
    return {
        name: (entry.shape[0], entry.shape[1])
        for name, entry in headers.items()
        if len(entry.shape) == 2 and not f".{name}".endswith(apart)
    }


def read_shape(config: dict[str, Any], headers: dict[str, TensorHeader]) -> dict[str, int]:
    """Depth, width and heads: what config.json says, and what follows from it or from the names of the tensors."""
    shape = {fact: take_number(config, names) for fact, names in NAMES.items()}
    numbers = [int(found[1]) for name in headers if (found := re.search(r"\.(\d+)\.", name))]
    shape["layers"] = shape["layers"] or max(numbers, default=-1) + 1
    table = find_tensor(headers, TABLES)
    shape["width"] = shape["width"] or (table.shape[1] if table else 0)
    if config.get("multi_query") and not config.get("new_decoder_architecture"):  # Falcon, whatever its numbers say
        shape["kv_heads"] = 1
    shape["kv_heads"] = shape["kv_heads"] or shape["heads"]
    if not shape["head_dim"] and shape["heads"]:
        shape["head_dim"] = shape["width"] // shape["heads"]
    shape["feed_forward"] = shape["feed_forward"] or 4 * shape["width"]
    if not config.get("use_sliding_window", True):
        shape["window"] = 0
    return shape


def take_number(config: dict[str, Any], names: tuple[str, ...]) -> int:
    """The first number that config.json has under one of the names; 0 where it has none."""
    return next((config[name] for name in names if isinstance(config.get(name), int)), 0)


def find_tensor(headers: dict[str, TensorHeader], ends: tuple[str, ...]) -> TensorHeader | None:
    """The matrix whose name ends so."""
    return next(
        (entry for name, entry in headers.items() if f".{name}".endswith(tuple(f".{end}" for end in ends))), None
    )
