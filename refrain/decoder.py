"""What every decoder is made of, whatever its family: the parts that the compact graph can draw."""

from collections.abc import Callable
from dataclasses import dataclass

from refrain.weights import Array


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
    frequencies: Array | None  # of rotary positions (arXiv:2104.09864), [head_dim / 2]; None: the table is positioned
    window: int | None  # how many tokens each one sees, itself included; None: all before it


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
    table: Array  # [vocabulary, width]
    table_scale: float
    positions: Array | None  # [context, width], learned; None: rotary
    layer: Callable[[int], Layer]  # reads one layer's weights
    norm: Norm
    head: Linear | None  # None: the table is the head
