"""Greedy decoding, of whatever promises logits: rows of different length as one batch."""

import compact_model
import numpy as np
import pytest
import traced_model

from refrain.runtime import language_model, loading
from refrain.runtime.traced_session import TracedSession

NONE = frozenset()
PROMPTS = [[5], [200, 7, 7, 31], list(range(100))]


class Counter:
    """A language model that always says the next number, and remembers how often it was asked."""

    def __init__(self):
        self.calls = []

    def forward(self, ids, mask, cache, keep=0):
        assert mask.shape[1] == (cache or 0) + ids.shape[1]
        self.calls.append(ids.tolist())
        return np.eye(100, dtype=np.float32)[ids + 1][:, -keep:], mask.shape[1]

    def select_rows(self, cache, rows):
        return cache


@pytest.fixture(scope="module", params=["llama fp32", "gpt2 fp32", "optimum"])
def lm(request, tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    if request.param == "optimum":
        return loading.load_model(traced_model.build(base / "tiny"), 1)
    return loading.load_model(compact_model.build(base, *request.param.split()), 1)


def test_a_reply_stops_before_its_first_end():
    assert language_model.greedy_decode(Counter(), [[3], [1, 2, 3], [50]], 4, frozenset({6})) == [
        [4, 5],
        [4, 5],
        [51, 52, 53, 54],
    ]


def test_without_ends_every_reply_has_the_full_length():
    assert [len(reply) for reply in language_model.greedy_decode(Counter(), [[3], [1, 2]], 7, NONE)] == [7, 7]


def test_decoding_stops_when_every_row_has_ended():
    lm = Counter()
    language_model.greedy_decode(lm, [[3], [1, 2]], 50, frozenset({6}))
    assert len(lm.calls) == 4, "the slower row says 3, 4, 5 and its end"


def test_rows_that_have_ended_leave_when_few_are_left():
    lm = Counter()
    replies = language_model.greedy_decode(lm, [[10], [4], [3], [20], [30]], 5, frozenset({6}))
    assert [len(reply) for reply in replies] == [5, 1, 2, 5, 5]
    assert [len(fed) for fed in lm.calls] == [5, 5, 5, 3, 3], "one of five may go on to no purpose"
    assert lm.calls[3] == [[13], [23], [33]]


def test_only_the_prompt_and_then_single_ids_are_fed():
    lm = Counter()
    language_model.greedy_decode(lm, [[7], [1, 2, 3]], 3, NONE)
    assert lm.calls == [[[0, 0, 7], [1, 2, 3]], [[8], [4]], [[9], [5]]]


def test_no_prompts_give_no_replies():
    assert language_model.greedy_decode(Counter(), [], 5, NONE) == []


def test_an_empty_prompt_is_refused_by_its_number():
    with pytest.raises(ValueError, match=r"^prompt 2: it has no ids; "):
        language_model.greedy_decode(Counter(), [[1], []], 5, NONE)


def test_a_left_padded_row_says_what_it_says_alone(lm):
    together = language_model.greedy_decode(lm, PROMPTS, 20, NONE)
    assert together == [language_model.greedy_decode(lm, [prompt], 20, NONE)[0] for prompt in PROMPTS]
    assert len({tuple(reply) for reply in together}) == 3


def test_the_cache_changes_nothing_that_is_said(lm):
    ids = [200, 7, 7, 31]
    for _ in range(20):
        logits, _ = lm.forward(np.array([ids]), np.ones((1, len(ids)), dtype=np.int64), None)
        ids.append(int(logits[0, -1].argmax()))
    assert language_model.greedy_decode(lm, [ids[:4]], 20, NONE) == [ids[4:]]


def test_a_row_that_ended_does_not_disturb_the_others(lm):
    first, second, third = language_model.greedy_decode(lm, PROMPTS, 20, NONE)
    end = next(token for token in second if token not in first and token not in third)
    assert language_model.greedy_decode(lm, PROMPTS, 20, frozenset({end})) == [
        first,
        second[: second.index(end)],
        third,
    ]


def test_a_row_goes_on_alone_as_if_it_had_been_read_alone(lm):
    ids, mask = language_model.left_pad(PROMPTS)
    together, cache = lm.forward(ids, mask, None, 1)
    forks = [lm.fork_row(cache, row) for row in range(len(PROMPTS))]
    if isinstance(lm, TracedSession):
        assert forks == [None] * len(PROMPTS)
        return
    lm.forward(np.array([[9]] * len(PROMPTS)), language_model.extend_mask(mask), cache, 1)  # a copy is not changed
    for row, prompt in enumerate(PROMPTS):
        alone = np.array([prompt])
        logits, own = lm.forward(alone, np.ones_like(alone), None, 1)
        assert np.array_equal(logits[0], together[row])
        step = np.array([[31]]), np.ones((1, len(prompt) + 1), dtype=np.int64)
        assert np.array_equal(lm.forward(*step, forks[row], 1)[0], lm.forward(*step, own, 1)[0])
