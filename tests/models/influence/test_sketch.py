"""Sketches: inner products of long vectors, kept."""

import torch

from refrain.models.influence.sketch import CountSketch

SIZES = [5000, 37, 4096]


def sketch_of(sketch, vectors):
    sketches = sketch.empty(len(vectors))
    for part, values in enumerate(vectors.split(SIZES, dim=1)):
        sketch.add(sketches, part, values)
    return sketches


def test_inner_products_are_kept_up_to_the_root_of_the_width():
    vectors = torch.randn(40, sum(SIZES), generator=torch.Generator().manual_seed(1))
    vectors += 2 * vectors[:1]  # some that have much in common
    vectors[:, ::64] *= 8  # and places that recur
    vectors /= vectors.norm(dim=1, keepdim=True)
    exact = vectors @ vectors.T
    for width in (256, 1024):
        sketches = sketch_of(CountSketch(SIZES, width), vectors)
        error = (sketches @ sketches.T - exact)[~torch.eye(40, dtype=bool)]
        assert 0.5 < float(error.square().mean() * width) ** 0.5 < 1.5


def test_a_sketch_is_the_same_each_time_and_of_what_adds_up_the_sum():
    vectors = torch.randn(3, sum(SIZES), generator=torch.Generator().manual_seed(2))
    first = sketch_of(CountSketch(SIZES, 512), vectors)
    assert torch.equal(first, sketch_of(CountSketch(SIZES, 512), vectors))
    summed = sketch_of(CountSketch(SIZES, 512), vectors.sum(0, keepdim=True))
    torch.testing.assert_close(summed[0], first.sum(0), rtol=1e-4, atol=1e-4)
