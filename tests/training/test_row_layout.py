"""Tokens into slots and back: each token once, each row whole, and gradients where they belong."""

import pytest
import torch

from refrain.training.row_layout import build_layout, number_tokens

CPU = torch.device("cpu")
TEXTS = [(5, 6, 7), (5, 6), (5, 8, 7, 9), (6, 7)]
ROWS = [[0, 1, 2], [0, 1], [0, 3, 4, 5], [6, 7]]


def test_what_texts_begin_with_in_common_is_there_once():
    assert number_tokens(TEXTS, shares=True) == ([5, 6, 7, 8, 7, 9, 6, 7], [0, 1, 2, 1, 2, 3, 0, 1], ROWS)


def test_unshared_texts_lie_one_after_the_other():
    ids, positions, rows = number_tokens(TEXTS, shares=False)
    assert (ids, positions) == ([5, 6, 7, 5, 6, 5, 8, 7, 9, 6, 7], [0, 1, 2, 0, 1, 0, 1, 2, 3, 0, 1])
    assert rows == [[0, 1, 2], [3, 4], [5, 6, 7, 8], [9, 10]]


def test_rows_of_like_length_are_one_stack():
    lengths = (20, 100, 39, 3, 75, 74, 40)
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    rows = [[*range(start, start + length)] for start, length in zip(starts, lengths, strict=True)]
    assert build_layout(rows, CPU).shapes == [(2, 100), (1, 74), (2, 40), (1, 20), (1, 3)]


@pytest.mark.parametrize("rows", [ROWS, ROWS[::-1], [*ROWS, [*range(8, 30)]]])
def test_a_row_of_a_stack_has_its_tokens_in_order_and_reading_gives_them_back(rows):
    layout, count = build_layout(rows, CPU), 1 + max(map(max, rows))
    states = torch.randn(1, 3, count, 2)
    slots = [row for part in layout.stack(states) for row in part]
    for row, found in zip(sorted(rows, key=len, reverse=True), slots, strict=True):
        assert torch.equal(found[:, : len(row)], states[0][:, row])
    back = layout.unstack([part.transpose(1, 2) for part in layout.stack(states)])
    assert torch.equal(back, states.transpose(1, 2))


def test_a_gradient_is_summed_over_the_rows_that_share_a_token():
    layout = build_layout(ROWS, CPU)
    states = torch.randn(1, 3, 8, 2, dtype=torch.double, requires_grad=True)
    whole = layout.stack(states)[0]
    assert layout.shapes == [(4, 4)]
    weights = torch.randn(4, 3, 4, 2, dtype=torch.double)
    for number, row in enumerate(sorted(ROWS, key=len, reverse=True)):
        weights[number, :, len(row) :] = 0  # nothing looks at what was filled up
    (whole * weights).sum().backward()
    expected = torch.zeros(3, 8, 2, dtype=torch.double)
    for number, row in enumerate(sorted(ROWS, key=len, reverse=True)):
        expected[:, row] += weights[number, :, : len(row)]
    torch.testing.assert_close(states.grad[0], expected)


def test_reading_sends_a_gradient_to_the_slot_that_was_read():
    layout = build_layout(ROWS, CPU)
    slots = torch.randn(4, 4, 3, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda states: layout.unstack([states]), slots)
