"""Attention in bf16 by products of matrices is PyTorch's in fp32 but for rounding, forward and backward."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from refrain.training.cpu import bf16_attention


def run(attend, tensors):
    out = attend(*tensors).float()
    (out * torch.linspace(-1, 2, out.numel()).view(out.shape)).sum().backward()
    return [out.detach(), *(tensor.grad.float() for tensor in tensors)]


@pytest.mark.parametrize("heads", [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize("length", [1, 9])
@pytest.mark.parametrize("window", [None, 1, 4])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_results_and_gradients_are_those_of_pytorch_within_rounding(heads, length, window, scale):
    torch.manual_seed(5)
    shapes = [(2, length, count, 8) for count in (heads[0], heads[1], heads[1])]
    one, other = ([torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
                   .transpose(1, 2).requires_grad_() for shape in shapes] for _ in range(2))  # fmt: skip
    mask = torch.ones(length, length, dtype=torch.bool).tril().triu(1 - (window or length))
    expected = run(lambda *qkv: scaled_dot_product_attention(*qkv, attn_mask=mask, scale=scale, enable_gqa=True)
                   .transpose(1, 2), one)  # fmt: skip
    found = run(lambda *qkv: bf16_attention.attend(*qkv, scale, window), other)
    for exact, rounded in zip(expected, found, strict=True):
        torch.testing.assert_close(rounded, exact, rtol=0, atol=0.02 * max(1.0, exact.abs().max().item()))


def test_it_is_taken_in_bf16_alone_and_for_rows_that_are_not_too_long():
    query = torch.ones(1, 1, 1, 8)
    assert not bf16_attention.is_faster(query, 1)
    with torch.autocast("cpu", torch.float16):
        assert not bf16_attention.is_faster(query, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert [bf16_attention.is_faster(query, length) for length in (1, 1024, 1025)] == [True, True, False]
