"""Weights in few bits: codes, one scale for each block of a row, and where they are not symmetric a zero point.

A weight is (code - zero) * scale; without zero points the middle code stands for 0. It is the layout of ONNX Runtime's
MatMulNBits and GatherBlockQuantized: two 4-bit codes to a byte, the first in the low half.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refrain.export.architectures.decoder import Array

Bytes = NDArray[np.uint8]
ScaleFinder = Callable[
    [Array, int], tuple[Array, Array]
]  # of blocks in some bits: scales and zero points [rows, blocks, 1]
RANGE_SHARES = tuple(np.float32(1 - step / 40) for step in range(1, 13))  # 0.975 to 0.7


@dataclass(frozen=True)
class QuantizedBlocks:
    codes: Bytes  # [rows, blocks, size * bits / 8]
    scales: Array  # [rows, blocks]
    zeros: Bytes | None  # [rows, ceil(blocks * bits / 8)]; None: the middle code


def quantize(weight: Array, bits: int, block_size: int, symmetric: bool, rounding: str) -> QuantizedBlocks:
    """The rows of a matrix in blocks of `block_size`, the last one filled up with zeros."""
    rows, columns = weight.shape
    blocks = -(-columns // block_size)
    values = np.pad(weight, ((0, 0), (0, blocks * block_size - columns))).reshape(rows, blocks, block_size)
    find_scales = symmetric_scales if symmetric else asymmetric_scales
    scales, zeros = find_scales(values, bits) if rounding == "nearest" else search_scales(find_scales, values, bits)
    codes = to_codes(values, scales, zeros, bits).astype(np.uint8)
    packed_zeros = None if symmetric else pack(zeros[..., 0].astype(np.uint8), bits)
    return QuantizedBlocks(pack(codes, bits), scales[..., 0], packed_zeros)


def symmetric_scales(values: Array, bits: int) -> tuple[Array, Array]:
    """Scales with the middle code for 0: what is farthest from 0 gets the lowest code, of which there is one more."""
    middle = np.float32(1 << (bits - 1))
    farthest = np.take_along_axis(values, np.abs(values).argmax(-1, keepdims=True), -1)
    scales = np.where(farthest == 0, np.float32(1), farthest / -middle)
    return scales, np.full_like(scales, middle)


def asymmetric_scales(values: Array, bits: int) -> tuple[Array, Array]:
    """Scales and zero points with which the codes span a block from lowest to highest, 0 among them."""
    top = np.float32((1 << bits) - 1)
    low, high = np.minimum(values.min(-1, keepdims=True), 0), np.maximum(values.max(-1, keepdims=True), 0)
    scales = np.where(low == high, np.float32(1), (high - low) / top)
    return scales, np.clip(np.rint(-low / scales), 0, top)


def search_scales(find_scales: ScaleFinder, values: Array, bits: int) -> tuple[Array, Array]:
    """Of the scales for ever narrower ranges those with the least squared error: a block may clip its extremes."""
    best_scales, best_zeros = find_scales(values, bits)
    least_error = squared_errors(values, best_scales, best_zeros, bits)
    for share in RANGE_SHARES:
        scales, candidate_zeros = find_scales(values * share, bits)
        error = squared_errors(values, scales, candidate_zeros, bits)
        is_better = error < least_error
        best_scales, best_zeros, least_error = (
            np.where(is_better, scales, best_scales),
            np.where(is_better, candidate_zeros, best_zeros),
            np.minimum(error, least_error),
        )
    return best_scales, best_zeros


def squared_errors(values: Array, scales: Array, zeros: Array, bits: int) -> Array:
    """The squared error of each block."""
    difference = (to_codes(values, scales, zeros, bits) - zeros) * scales - values
    return np.asarray(np.square(difference).sum(-1, keepdims=True))


def to_codes(values: Array, scales: Array, zeros: Array, bits: int) -> Array:
    """The nearest codes."""
    return np.asarray(np.clip(np.rint(values / scales) + zeros, 0, np.float32((1 << bits) - 1)))


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
