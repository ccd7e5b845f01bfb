"""What came before is drafted again, as much of it as is worth its time."""

import pytest

from refrain.generation.prompt_lookup import PromptLookup, StepCosts, choose_length


@pytest.mark.parametrize(
    ("prompt", "ids", "draft"),
    [
        ([1, 2, 3, 4, 5, 1], [2], [3, 4, 5, 1, 2]),
        ([1, 2, 3, 9, 2, 3, 8, 1, 2], [3], [9, 2, 3, 8, 1]),  # three tokens in common tell more than two that are later
        ([1, 2, 3, 1, 2, 4, 1], [2], [4, 1, 2, 4, 1]),  # of the same two the latest, and it goes round
        ([7, 7], [7], [7, 7, 7, 7, 7]),
        ([1, 2, 3], [4], []),
        ([1], [], []),
    ],
)
def test_what_followed_the_last_tokens_is_found(prompt, ids, draft):
    at_once, one_by_one = PromptLookup(prompt), PromptLookup(prompt)
    for count in range(len(ids)):
        one_by_one.find(ids[:count], 5)
    assert at_once.find(ids, 5) == one_by_one.find(ids, 5) == draft
    assert at_once.find(ids, 2) == draft[:2] and at_once.find(ids, 0) == []


def test_a_draft_is_as_long_as_it_pays():
    assert choose_length(1.0, 0.3, 1, 8) == 8
    assert [choose_length(chance, 0.3, 1, 8) for chance in (0.2, 0.4, 0.6, 0.8, 0.9)] == [0, 0, 1, 3, 5]
    assert choose_length(0.6, 0.9, 1, 8) == 0 and choose_length(1.0, 0.05, 1, 3) == 3
    assert choose_length(0.9, 0.3 / (1 + 0.3 * 31), 32, 8) == 0, "in much company a row costs what it brings"


def test_drafts_that_come_to_nothing_become_rare_and_are_tried_again():
    lookup, ids, drafts = PromptLookup([1, 2]), [], []
    for step in range(400):
        ids.append(step)
        lookup.find(ids, 8)
        if choose_length(lookup.acceptance, 0.3, 1, 8):
            drafts.append(step)
            lookup.observe(1, 0)
    assert drafts[0] == 0 and drafts[-1] > 300 and len(drafts) < 20
    for _ in range(12):
        lookup.observe(8, 8)
    assert choose_length(lookup.acceptance, 0.3, 1, 8) == 8


def test_what_a_row_costs_is_learnt_from_steps():
    costs = StepCosts()
    assert costs.row_cost(1) == 0.3 and costs.row_cost(11) == 0.3 / 4
    for _ in range(9):
        costs.observe(1, 0, 0.010)
        costs.observe(1, 5, 0.020)
    assert costs.row_cost(1) == pytest.approx(0.2, rel=0.1)
    for _ in range(9):
        costs.observe(6, 0, 0.020)
        costs.observe(6, 4, 0.028)
    assert costs.row_cost(6) == pytest.approx(0.1, rel=0.1), "of a step of six rows, which takes two of one"
    costs.observe(6, 4, 1.0)
    assert 0 < costs.row_cost(6) <= 1, "one that was interrupted"
    for _ in range(300):
        costs.observe(6, 0, 0.020)
    assert choose_length(0.9, costs.row_cost(6), 1, 8) > 0, "is forgotten"
