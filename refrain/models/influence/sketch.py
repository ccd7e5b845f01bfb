"""Long vectors as short ones whose inner products are nearly the same: a count sketch (arXiv:1411.4357, section 2.1).

Each element is given a random sign and added to one place; places are drawn by turning each stretch of the vector by a
random offset, so that two elements meet by the chance of one in `width`, and an inner product is off by one part in
the root of `width` of the norms.
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

SEED = 20200219


class CountSketch:
    """The same for the same sizes and width, on every machine."""

    def __init__(self, sizes: list[int], width: int) -> None:
        self.width = width
        rng = np.random.default_rng([SEED, width])
        self._signs = [torch.from_numpy(rng.integers(0, 2, size, dtype=np.int8) * 2 - 1) for size in sizes]
        self._offsets = [rng.integers(0, width, -(-size // width)).tolist() for size in sizes]

    def empty(self, rows: int) -> Tensor:
        """Sketches of nothing [rows, width]."""
        return torch.zeros(rows, self.width)

    def add(self, sketches: Tensor, part: int, values: Tensor) -> None:
        """Add the part of that number of the vectors [rows, size of the part]."""
        signed = values * self._signs[part]
        padded = F.pad(signed, (0, -signed.shape[1] % self.width))
        for stretch, offset in zip(padded.split(self.width, dim=1), self._offsets[part], strict=True):
            sketches += stretch.roll(offset, dims=1)
