"""Weights in few bits: codes, one scale for each block of a row, and where they are not symmetric a zero point.

A weight is (code - zero) * scale; without zero points the middle code stands for 0. It is the layout of ONNX Runtime's
MatMulNBits and GatherBlockQuantized: two 4-bit codes to a byte, the first in the low half.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from refrain.exporters.architectures.decoder import Array
from refrain.pipeline.cores import available_cores

Bytes = NDArray[np.uint8]
Chunk = TypeVar("Chunk")
SHARES = {  # of a block's range that are tried
    "nearest": (),
    "search": tuple(np.float32(1 - step / 40) for step in range(1, 13)),  # 0.975 to 0.7
}
OFF_GRID = np.float32(0.93)  # share of the codes of 8 bits that symmetric blocks use
CHUNK = 2**18  # weights that are quantised at once


@dataclass(frozen=True)
class QuantizedBlocks:
    codes: Bytes  # [rows, blocks, size * bits / 8]
    scales: Array  # [rows, blocks]
    zeros: Bytes | None  # [rows, ceil(blocks * bits / 8)]; None: the middle code


def quantize(weight: Array, bits: int, block_size: int, symmetric: bool, rounding: str) -> QuantizedBlocks:
    """The rows of a matrix in blocks of `block_size`, the last one filled up with zeros."""
    quantize_chunk = partial(
        quantize_rows, bits=bits, block_size=block_size, symmetric=symmetric, shares=SHARES[rounding]
    )
    chunks = map_rows(quantize_chunk, weight)
    return QuantizedBlocks(
        np.concatenate([chunk.codes for chunk in chunks]),
        np.concatenate([chunk.scales for chunk in chunks]),
        None if symmetric else np.concatenate([chunk.zeros for chunk in chunks if chunk.zeros is not None]),
    )


def map_rows(quantize_chunk: Callable[[Array], Chunk], weight: Array) -> list[Chunk]:
    """What a function makes of the rows of a matrix, so few at a time that they stay in the cache of a core."""
    step = max(1, CHUNK // weight.shape[1])
    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(quantize_chunk, (weight[row : row + step] for row in range(0, len(weight), step))))


def quantize_rows(
    weight: Array, bits: int, block_size: int, symmetric: bool, shares: tuple[np.float32, ...]
) -> QuantizedBlocks:
    """Some rows, each in blocks of its own."""
    rows, columns = weight.shape
    blocks = -(-columns // block_size)
    values = np.pad(weight, ((0, 0), (0, blocks * block_size - columns))).reshape(rows, blocks, block_size)
    scales, zeros = search_scales(values, bits, symmetric, shares)
    codes = to_steps(values, scales, zeros, bits)
    codes += zeros
    packed_zeros = None if symmetric else pack(zeros[..., 0].astype(np.uint8), bits)
    return QuantizedBlocks(pack(codes.astype(np.uint8), bits), scales[..., 0], packed_zeros)


def farthest_values(values: Array) -> Array:
    """Of each block what is farthest from 0."""
    return np.asarray(np.take_along_axis(values, np.abs(values).argmax(-1, keepdims=True), -1))


def symmetric_scales(farthest: Array, bits: int) -> tuple[Array, Array]:
    """Scales with the middle code for 0: what is farthest from 0 gets the lowest code, of which there is one more.

    In 8 bits it stays off the last codes: the weights of a base that was published in few bits would all lie on codes
    exactly, and what fine-tuning added to them, less than half a step, would be rounded away.
    """
    middle = np.float32(1 << (bits - 1))
    reach = middle * OFF_GRID if bits == 8 else middle
    scales = np.where(farthest == 0, np.float32(1), farthest / -reach)
    return scales, np.full_like(scales, middle)


def lowest_and_highest(values: Array) -> Array:
    """The ends of each block, 0 between them."""
    return np.concatenate([values.min(-1, keepdims=True).clip(max=0), values.max(-1, keepdims=True).clip(min=0)], -1)


def asymmetric_scales(ends: Array, bits: int) -> tuple[Array, Array]:
    """Scales and zero points with which the codes span a block from lowest to highest."""
    top, low, high = np.float32((1 << bits) - 1), ends[..., :1], ends[..., 1:]
    scales = np.where(low == high, np.float32(1), (high - low) / top)
    return scales, np.clip(np.rint(-low / scales), 0, top)


def search_scales(values: Array, bits: int, symmetric: bool, shares: tuple[np.float32, ...]) -> tuple[Array, Array]:
    """Scales and zero points for the range of each block or, of narrower ones, that with the least squared error."""
    find_range, find_scales = RANGES[symmetric]
    whole = find_range(values)
    best_scales, best_zeros = find_scales(whole, bits)
    if not shares:
        return best_scales, best_zeros
    columns = np.ascontiguousarray(np.moveaxis(values, -1, 0))  # a block to a column: NumPy's loops are long
    least_error = squared_errors(columns, best_scales, best_zeros, bits)
    for share in shares:
        scales, zeros = find_scales(whole * share, bits)
        error = squared_errors(columns, scales, zeros, bits)
        is_better = error < least_error
        best_scales, best_zeros = np.where(is_better, scales, best_scales), np.where(is_better, zeros, best_zeros)
        least_error = np.where(is_better, error, least_error)
    return best_scales, best_zeros


RANGES = {True: (farthest_values, symmetric_scales), False: (lowest_and_highest, asymmetric_scales)}


def squared_errors(columns: Array, scales: Array, zeros: Array, bits: int) -> Array:
    """The squared error of each block, whose values are the first axis."""
    difference = to_steps(columns, scales[..., 0], zeros[..., 0], bits)
    difference *= scales[..., 0]
    difference -= columns
    return np.asarray(np.square(difference, out=difference).sum(0)[..., None])


def to_steps(values: Array, scales: Array, zeros: Array, bits: int) -> Array:
    """The nearest codes, less those that stand for 0."""
    steps = values / scales
    np.rint(steps, out=steps)
    np.maximum(steps, -zeros, out=steps)
    return np.asarray(np.minimum(steps, np.float32((1 << bits) - 1) - zeros, out=steps))


def pack(codes: Bytes, bits: int) -> Bytes:
    """Codes of 8 bits as they are; of 4 bits two to a byte along the last axis."""
    if bits == 8:
        return codes
    even = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, codes.shape[-1] % 2)])
    return np.asarray(even[..., 0::2] | (even[..., 1::2] << 4), dtype=np.uint8)


def dequantize(blocks: QuantizedBlocks, bits: int, columns: int) -> Array:
    """The matrix [rows, columns] that the blocks stand for."""
    rows, count, _ = blocks.codes.shape
    zeros = np.full((rows, count), 1 << (bits - 1)) if blocks.zeros is None else unpack(blocks.zeros, bits)[:, :count]
    values = (unpack(blocks.codes, bits).astype(np.float32) - zeros[..., None]) * blocks.scales[..., None]
    return np.asarray(values.reshape(rows, -1)[:, :columns], dtype=np.float32)


def unpack(codes: Bytes, bits: int) -> Bytes:
    if bits == 8:
        return codes
    return np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:-1], -1)
