"""What every decoder is made of, whatever its family: the parts that the compact graph can draw."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Linear:
    """x @ weight.T + bias."""

    weight: Array  # [out, in]
    bias: Array | None = None


@dataclass(frozen=True)
class Norm:
    """Layer normalisation (arXiv:1607.06450); without a bias root mean square normalisation (arXiv:1910.07467)."""

    weight: Array
    bias: Array | None = None


@dataclass(frozen=True)
class Rotary:
    """Rotary positions (arXiv:2104.09864) of the first numbers of a head: the j-th turns with the j-th of their second
    half, or where they are interleaved with its neighbour."""

    frequencies: Array  # how far each pair turns from one position to the next
    factor: float = 1.0  # of what has been turned
    is_interleaved: bool = False
    width: int | None = None  # of a head whose other pairs stand still; None: there are none
    base: float | None = None  # what frequencies are made of: one number, and how config.json stretches them
    scaling: dict[str, Any] | None = None


@dataclass(frozen=True)
class Layer:
    before_attention: Norm | None
    qkv: Linear  # queries, keys and values, one below the other
    out: Linear
    before_mlp: Norm | None  # None in a parallel decoder: what attention reads
    up: Linear  # where the decoder is gated: the gate, then what it lets through
    down: Linear
    q_norm: Norm | None = None  # of each head, or of all their numbers
    k_norm: Norm | None = None
    after_attention: Norm | None = None
    after_mlp: Norm | None = None
    rotary: Rotary | None = None  # None: the embedding has positions, or nothing tells them
    window: int | None = None  # how many tokens each token sees, itself included; None: all before it


@dataclass(frozen=True)
class Decoder:
    heads: int
    kv_heads: int
    head_dim: int
    layers: int
    context: int
    epsilon: float  # of every norm
    scale: float  # of queries times keys
    activation: str  # silu, gelu, gelu_tanh, relu or relu2
    gated: bool
    embedding: Array  # [vocabulary, width]
    embedding_scale: float
    position_embedding: Array | None  # [context, width], learned; None: rotary
    read_layer: Callable[[int], Layer]  # from disk, so that the weights of one layer are in memory at a time
    final_norm: Norm
    lm_head: Linear | None  # None: the embedding is the head
    is_parallel: bool = False  # the feed-forward net reads the stream that attention reads
    attention_softcap: float = 0.0  # scores become softcap * tanh(score / softcap); 0: they stay
    logit_softcap: float = 0.0
    column_scales: Array | None = None  # of the rows that ids name, where the head wants other columns
