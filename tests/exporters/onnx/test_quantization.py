"""Few bits stand for nearly the weights that went in."""

import tracemalloc

import numpy as np
import pytest

from refrain.exporters.onnx import quantization

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(0, 0.02, (24, 160)).astype(np.float32)
KINDS = [(True, "nearest"), (False, "nearest"), (True, "search"), (False, "search")]


def restored(weight, bits, size, symmetric, rounding):
    parts = quantization.quantize(weight, bits, size, symmetric, rounding)
    return quantization.dequantize(parts, bits, weight.shape[1])


@pytest.mark.parametrize("symmetric, rounding", KINDS)
@pytest.mark.parametrize(
    "bits, size, most", [(8, 32, 0.01), (8, 128, 0.012), (4, 32, 0.11), (4, 64, 0.13), (4, 16, 0.1)]
)
def test_what_comes_back_is_near(bits, size, most, symmetric, rounding):
    back = restored(WEIGHT, bits, size, symmetric, rounding)
    assert 0 < np.linalg.norm(back - WEIGHT) / np.linalg.norm(WEIGHT) < most


@pytest.mark.parametrize("symmetric, rounding", [KINDS[0], KINDS[1]])
@pytest.mark.parametrize("bits", [8, 4])
def test_no_weight_is_further_off_than_its_step(bits, symmetric, rounding):
    parts = quantization.quantize(WEIGHT, bits, 32, symmetric, rounding)
    step = np.repeat(np.abs(parts.scales), 32, axis=1)
    assert (np.abs(quantization.dequantize(parts, bits, 160) - WEIGHT) <= step * 1.001).all()


@pytest.mark.parametrize("levels", [8, 16, 127, 128])
def test_what_was_added_to_weights_of_few_bits_is_kept(levels):
    rng = np.random.default_rng(5)
    base = rng.integers(-levels, levels, (64, 256)).astype(np.float32)
    base[:, ::32] = -levels  # the farthest of each block
    added = np.outer(rng.normal(size=64), rng.normal(size=256)).astype(np.float32) * levels / 2000  # a tenth of a step
    kept = restored(base + added, 8, 32, True, "nearest") - restored(base, 8, 32, True, "nearest")
    assert (kept * added).sum() / np.square(added).sum() > 0.75


def test_the_extreme_of_a_symmetric_block_is_exact_in_4_bits():
    back = restored(WEIGHT, 4, 32, True, "nearest").reshape(24, 5, 32)
    values = WEIGHT.reshape(24, 5, 32)
    at = np.abs(values).argmax(-1)[..., None]
    extremes = [np.take_along_axis(each, at, -1) for each in (values, back)]
    assert np.allclose(*extremes, rtol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_search_finds_less_error_than_rounding(symmetric):
    heavy = RNG.standard_t(4, (64, 256)).astype(np.float32)
    plain, better = (
        np.square(restored(heavy, 4, 64, symmetric, each) - heavy).reshape(64, 4, 64).sum(-1)
        for each in ("nearest", "search")
    )
    assert (better <= plain * 1.0001).all(), "never worse, block by block"
    assert better.sum() < 0.95 * plain.sum()


@pytest.mark.parametrize("symmetric, rounding", KINDS)
@pytest.mark.parametrize("value", [0.0, 0.5, -3.0, 1e-30])
def test_a_block_of_one_value_comes_back_finite_and_right(value, symmetric, rounding):
    weight = np.full((2, 32), value, dtype=np.float32)
    assert np.allclose(restored(weight, 4, 32, symmetric, rounding), weight, rtol=0.07, atol=1e-29)


@pytest.mark.parametrize("symmetric", [True, False])
def test_an_odd_number_of_blocks_and_a_rest_are_filled_up(symmetric):
    weight = WEIGHT[:, :77]
    parts = quantization.quantize(weight, 4, 32, symmetric, "nearest")
    assert parts.codes.shape == (24, 3, 16) and parts.scales.shape == (24, 3)
    assert symmetric or parts.zeros.shape == (24, 2)
    assert np.abs(quantization.dequantize(parts, 4, 77) - weight).max() < 0.01


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_two_codes_share_a_byte_the_first_below(count):
    codes = np.arange(count, dtype=np.uint8) + 3
    packed = quantization.pack(codes, 4)
    assert len(packed) == (count + 1) // 2 and packed[0] & 15 == 3
    assert quantization.unpack(packed, 4)[:count].tolist() == codes.tolist()


@pytest.mark.parametrize("symmetric, rounding", KINDS)
def test_rows_are_the_same_whatever_is_quantised_beside_them(symmetric, rounding, monkeypatch):
    whole = quantization.quantize(WEIGHT, 4, 32, symmetric, rounding)
    monkeypatch.setattr(quantization, "CHUNK", 5 * 160)
    chunked = quantization.quantize(WEIGHT, 4, 32, symmetric, rounding)
    for name in ("codes", "scales", "zeros"):
        assert np.array_equal(getattr(whole, name), getattr(chunked, name)), name


def test_of_equal_extremes_the_first_decides_the_sign():
    weight = np.array([[0.5, -0.5, 0.25, 0.0] * 4, [-0.5, 0.5, 0.25, 0.0] * 4], dtype=np.float32)
    assert np.sign(quantization.quantize(weight, 4, 16, True, "nearest").scales).ravel().tolist() == [-1, 1]


def test_a_large_table_takes_little_memory_beside_itself_and_its_codes():
    table = np.ones((12_288, 640), dtype=np.float32)
    tracemalloc.start()
    quantization.quantize(table, 8, 32, False, "search")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < table.nbytes
