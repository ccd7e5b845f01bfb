"""Tokens that are fed together, each as a row of its own, have the bits of steps; where that cannot be, it is said."""

import random

import compact_model
import numpy as np
import pytest
import traced_model

from refrain.runtime import loading
from refrain.runtime.compact_session import CompactSession, CompactSlots
from refrain.runtime.shared_memory import SharedKVMemory

IDS = np.random.default_rng(0).integers(0, 256, 400).tolist()
GRAPHS = ["llama fp32", "llama int8", "llama int4", "gpt2 int8-32", "wide int8", "llama int8-kv8", "gpt2 kv8"]


@pytest.fixture(
    scope="module",
    params=[(name, threads) for name in GRAPHS for threads in (1, 2) if threads == 1 or "wide" not in name],
    ids=str,
)
def lm(request, tmp_path_factory) -> CompactSession:
    name, threads = request.param
    return loading.load_model(compact_model.build(tmp_path_factory.getbasetemp(), *name.split()), threads)


@pytest.mark.parametrize("num_spare", [0, 1])
def test_logits_keys_and_values_of_drafts_are_those_of_steps_whoever_drafts_how_much(lm, num_spare):
    drafted, stepped, rng = CompactSlots(lm, 3, 9, num_spare), lm.allocate_slots(3), random.Random(0)
    lm.allocate_slots(3, 9)  # is not refused
    lengths = [1, 90, 37]
    for slots in (drafted, stepped):
        for slot, length in enumerate(lengths):
            slots.prefill(slot, np.array(IDS[slot : slot + length]))
    for _ in range(12):
        counts = np.bincount(rng.choices(range(3), k=rng.randrange(10)), minlength=3) + 1
        fed = [IDS[length : length + count] for length, count in zip(lengths, counts, strict=True)]
        found, expected = drafted.decode_drafts(fed), [[], [], []]
        for column in range(max(counts)):
            logits = stepped.decode(np.array([own[min(column, len(own) - 1)] for own in fed]))
            for slot in np.flatnonzero(counts > column):
                expected[slot].append(logits[slot])
        for slot, count in enumerate(counts):
            assert np.array_equal(found[slot], np.array(expected[slot]))
            stepped.crop(slot, lengths[slot] + count)
            lengths[slot] += rng.randrange(1, count + 1)
            for slots in (drafted, stepped):
                slots.crop(slot, lengths[slot])
            for own, other in zip(drafted._buffers, stepped._buffers, strict=True):
                assert np.array_equal(own[slot, :, : lengths[slot]], other[slot, :, : lengths[slot]])
        if rng.random() < 0.3:
            first, second = rng.sample(range(3), 2)
            drafted.swap(first, second), stepped.swap(first, second)
            lengths[first], lengths[second] = lengths[second], lengths[first]


def test_a_draft_takes_the_place_of_the_spare_row_and_changes_no_bit(lm):
    drafted, stepped = CompactSlots(lm, 2, 2, num_spare=1), CompactSlots(lm, 2)
    prompt = np.array(IDS[:70])
    drafted.prefill(0, prompt), stepped.prefill(0, prompt), stepped.prefill(1, prompt)
    for count, num_rows in ((1, 2), (2, 2), (1, 2), (3, 3), (2, 2), (1, 2)):
        length, drafted._bindings = int(drafted.lengths[0]), {}
        (found,) = drafted.decode_drafts([IDS[length : length + count]])
        expected = [stepped.decode(np.array([token, token]))[0] for token in IDS[length : length + count]]
        assert np.array_equal(found, np.array(expected))
        assert all(map(np.array_equal, drafted.keys_and_values(0), stepped.keys_and_values(0)))
        assert [last - first for first, last in drafted._bindings] == [num_rows]


def test_a_graph_that_rounds_rows_otherwise_in_company_is_refused_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("ORT_GQA_DISABLE_FLASH_ATTENTION", "1")  # attention then reads while others write
    for threads in (1, 2):
        lm = loading.load_model(compact_model.build(tmp_path, "llama", "fp32"), threads)
        lm.allocate_slots(2)
        with pytest.raises(ValueError, match="prompt_lookup_num_tokens: this model rounds"):
            lm.allocate_slots(2, 4)


def test_more_threads_than_heads_take_no_drafts(tmp_path):
    with pytest.raises(ValueError, match="give 1 threads or fewer"):
        loading.load_model(compact_model.build(tmp_path, "wide", "fp32"), 2).allocate_slots(1, 2)


def test_a_traced_graph_takes_no_drafts(tmp_path):
    with pytest.raises(ValueError, match="prompt_lookup_num_tokens: a graph that optimum"):
        loading.load_model(traced_model.build(tmp_path / "tiny"), 1).allocate_slots(1, 2)


def test_rows_that_share_a_slot_see_what_is_written_and_given_back_in_it():
    memory = SharedKVMemory((2, 3, 70, 4), np.dtype(np.float32), 4, num_own=1)
    memory.share(2, 1)
    memory.array[0, 2, 69], memory.array[1, 0, 0], memory.rows[0, 1, 1] = 5.0, 7.0, 9.0
    assert memory.rows[:4, 2, 69, 0].tolist() == [0.0, 5.0, 0.0, 5.0]
    assert memory.rows[:4, 0, 0, 0].tolist() == [0.0, 0.0, 7.0, 0.0]
    memory.release(0, 69)
    assert memory.rows[1, 2, 69, 0] == 5.0, "a page that is shared with another token stays"
    memory.release(0, 0)
    assert not memory.rows[1].any() and not memory.array[0].any() and memory.rows[2, 0, 0, 0] == 7.0
    assert np.argwhere(memory.rows[..., 0] == 9.0).tolist() == [[0, 1, 1]], "memory of its own is seen by no other row"
