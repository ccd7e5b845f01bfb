"""What every decoder is made of, whatever its family: the parts that the compact graph can draw."""

from collections.abc import Callable
from dataclasses import dataclass

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
class Layer:
    before_attention: Norm
    qkv: Linear  # queries, keys and values, one below the other
    q_norm: Norm | None  # of each head
    k_norm: Norm | None
    out: Linear
    after_attention: Norm | None
    before_mlp: Norm
    up: Linear  # where the decoder is gated: the gate, then what it lets through
    down: Linear
    after_mlp: Norm | None
    frequencies: (
        Array | None
    )  # of rotary positions (arXiv:2104.09864), [head_dim / 2]; None: the embedding has positions
    window: int | None  # how many tokens each token sees, itself included; None: all before it


@dataclass(frozen=True)
class Decoder:
    heads: int
    kv_heads: int
    head_dim: int
    layers: int
    context: int
    epsilon: float  # of every norm
    scale: float  # of queries times keys
    activation: str  # silu, gelu, gelu_tanh or relu
    gated: bool
    embedding: Array  # [vocabulary, width]
    embedding_scale: float
    position_embedding: Array | None  # [context, width], learned; None: rotary
    read_layer: Callable[[int], Layer]  # from disk, so that the weights of one layer are in memory at a time
    final_norm: Norm
    lm_head: Linear | None  # None: the embedding is the head
