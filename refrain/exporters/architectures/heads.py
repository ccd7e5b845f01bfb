"""Heads as GroupQueryAttention takes them: of a size it knows, with the numbers of a pair half a head apart.

Queries and keys may change the order of their numbers, if both do, and any head may have zeros at its end: neither
changes what attention gives.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from refrain.exporters.architectures.decoder import Array, Decoder, Layer, Linear, Norm, Rotary

STEP, ROTARY_STEP = 8, 16  # of the size of a head, where none turns and where one does; of how much of it turns

Order = NDArray[np.int64]  # for each number of a head where it was before; -1: nowhere, it is zero


def fit_heads(decoder: Decoder) -> Decoder:
    """The same decoder with heads that the operator takes; ValueError for those that cannot be made so."""
    if decoder.heads % decoder.kv_heads:
        raise ValueError(f"config.json: {decoder.heads} heads cannot share {decoder.kv_heads} heads of keys and values")
    size = fitting_size(decoder)

    def read_layer(i: int) -> Layer:
        layer = decoder.read_layer(i)
        require_fitting(decoder, layer)
        return fit_layer(decoder, layer, size)

    return replace(decoder, head_dim=size, read_layer=read_layer)


def fitting_size(decoder: Decoder) -> int:
    """The smallest size that the operator takes and that holds a head."""
    step = STEP if decoder.position_embedding is not None else ROTARY_STEP
    return -(-decoder.head_dim // step) * step


def require_fitting(decoder: Decoder, layer: Layer) -> None:
    """ValueError for heads that are normed and would need zeros, which a norm counts."""
    if layer.q_norm is not None and fitting_size(decoder) != decoder.head_dim:
        raise ValueError(
            f"config.json: heads of {decoder.head_dim} numbers that are normed have no place in the compact graph, "
            f"whose attention takes multiples of {ROTARY_STEP}"
        )


def fit_layer(decoder: Decoder, layer: Layer, size: int) -> Layer:
    """A layer with each head's numbers in their new order; the layer itself where the order is as it was."""
    plain = pad_order(np.arange(decoder.head_dim), size)
    order, rotary = plain, layer.rotary
    if rotary is not None and (rotary.is_interleaved or 2 * len(rotary.frequencies) % ROTARY_STEP):
        order = halved_order(rotary, decoder.head_dim, size)
        rotary = replace(rotary, is_interleaved=False, width=size)
    if np.array_equal(order, np.arange(decoder.head_dim)):
        return layer
    orders = [(decoder.heads, order), (decoder.kv_heads, order), (decoder.kv_heads, plain)]
    qkv_bias = None if layer.qkv.bias is None else arrange_parts(layer.qkv.bias, orders)
    out = Linear(arrange(layer.out.weight.T, decoder.heads, plain).T, layer.out.bias)
    return replace(
        layer,
        qkv=Linear(arrange_parts(layer.qkv.weight, orders), qkv_bias),
        out=out,
        q_norm=arrange_norm(layer.q_norm, order),
        k_norm=arrange_norm(layer.k_norm, order),
        rotary=rotary,
    )


def pad_order(order: Order, size: int) -> Order:
    return np.concatenate([order, np.full(size - len(order), -1)])


def halved_order(rotary: Rotary, head_dim: int, size: int) -> Order:
    """The first numbers of all pairs at the start of a head, the second ones at its middle, others where room is."""
    pairs = len(rotary.frequencies)
    turned = np.arange(2 * pairs)
    first, second = (turned[::2], turned[1::2]) if rotary.is_interleaved else (turned[:pairs], turned[pairs:])
    order = np.full(size, -1)
    order[:pairs], order[size // 2 : size // 2 + pairs] = first, second
    room = np.flatnonzero(order < 0)[: head_dim - 2 * pairs]
    order[room] = np.arange(2 * pairs, head_dim)
    return order


def arrange_parts(fused: Array, orders: list[tuple[int, Order]]) -> Array:
    """Queries, keys and values, one below the other, each with its heads and their order."""
    head_dim = len(fused) // sum(heads for heads, _ in orders)
    ends = np.cumsum([heads * head_dim for heads, _ in orders])[:-1]
    return np.concatenate(
        [arrange(part, heads, order) for part, (heads, order) in zip(np.split(fused, ends), orders, strict=True)]
    )


def arrange(rows: Array, heads: int, order: Order) -> Array:
    """The rows of each head in an order."""
    split = rows.reshape(heads, -1, *rows.shape[1:])
    padded = np.concatenate([split, np.zeros_like(split[:, :1])], axis=1)  # which -1 takes
    return np.ascontiguousarray(padded[:, order].reshape(-1, *rows.shape[1:]))


def arrange_norm(norm: Norm | None, order: Order) -> Norm | None:
    """The norm of one head, or of all of them."""
    if norm is None:
        return None
    heads = len(norm.weight) // len(order)
    return Norm(arrange(norm.weight, heads, order), None if norm.bias is None else arrange(norm.bias, heads, order))
