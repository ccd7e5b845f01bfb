import itertools

import pytest

from refrain.training import batching

LENGTHS = [7, 3, 30, 3, 12, 1, 9, 9, 22, 5, 3]


def epoch(seed=1, number=0, size=4, lengths=LENGTHS):
    steps = batching.StepSampler(lengths, size, seed)
    steps.epoch = number
    assert len(list(steps)) == len(steps)
    return list(steps)


@pytest.mark.parametrize("size", [1, 2, 4, 11, 50])
@pytest.mark.parametrize("number", [0, 1, 7])
def test_an_epoch_holds_each_row_once_in_steps_of_the_size(size, number):
    steps = epoch(number=number, size=size)
    assert sorted(itertools.chain(*steps)) == list(range(len(LENGTHS)))
    assert {len(step) for step in steps[:-1]} <= {size} and 0 < len(steps[-1]) <= size


def test_an_order_repeats_with_seed_and_epoch_and_with_no_other():
    assert epoch() == epoch()
    orders = [epoch(seed, number) for seed in (1, 2) for number in (0, 1)]
    assert all(a != b for a, b in itertools.combinations(orders, 2))


@pytest.mark.parametrize("seed", range(8))
def test_the_longest_row_is_in_the_first_step(seed):
    assert LENGTHS.index(30) in epoch(seed, size=1)[0]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("tokens", [1, 9, 25, 64, 1000])
def test_passes_hold_each_row_once_and_no_more_than_their_tokens(tokens, packed):
    cut = batching.split_forward_passes(LENGTHS, tokens, packed)
    assert sorted(itertools.chain(*cut)) == list(range(len(LENGTHS)))
    for some in cut:
        held = [LENGTHS[row] for row in some]
        cost = sum(held) if packed else len(held) * max(held)
        assert cost <= tokens or len(some) == 1


def test_passes_fill_what_they_are_given():
    assert batching.split_forward_passes([5, 5, 5, 5], 10, packed=True) == [[0, 1], [2, 3]]
    assert batching.split_forward_passes([6, 5, 4, 3], 12, packed=False) == [[0, 1], [2, 3]]
    assert batching.split_forward_passes([6, 5, 4, 3], 18, packed=True) == [[0, 1, 2, 3]]


@pytest.mark.parametrize("processes", [1, 2, 3, 16])
def test_processes_share_all_rows_of_a_step_evenly(processes):
    shares = [batching.process_share(LENGTHS, number, processes) for number in range(processes)]
    assert sorted(itertools.chain(*shares)) == list(range(len(LENGTHS)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    if processes == 2:
        loads = [sum(LENGTHS[row] for row in share) for share in shares]
        assert max(loads) - min(loads) <= max(LENGTHS)


def test_no_rows_make_no_passes():
    assert batching.split_forward_passes([], 10, packed=True) == []
