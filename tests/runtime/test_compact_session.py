"""The compact graph, running: what a row says depends on nothing but its own tokens, to the last bit."""

import compact_model
import numpy as np
import pytest

from refrain.runtime import loading
from refrain.runtime.compact_session import MASK_STEP, CompactSlots
from refrain.runtime.session import PREFILL_CHUNK

IDS = np.random.default_rng(0).integers(0, compact_model.VOCABULARY, (4, compact_model.CONTEXT))


BITS = ("fp32", "int8", "int8-64", "int8-32", "int4", "int4-head4", "int8-kv8")
EXACT = [f"{family} {bits}" for family in ("llama", "gpt2") for bits in BITS]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A function that opens a model."""
    return lambda name: loading.load_model(compact_model.build(tmp_path_factory.getbasetemp(), *name.split()), 1)


@pytest.fixture(scope="module", params=[*EXACT, "llama int4-64", "wide fp32", "wide int8", "gemma2 int8-kv8"])
def lm(request, opened):
    return opened(request.param)


def fed(lm, ids, cuts, keep=1):
    """The last logits of a row that is fed up to each of the cuts, and then whole."""
    slots = lm.allocate_slots(1)
    for begin, end in zip([0, *cuts], cuts, strict=False):
        slots.prefill(0, ids[begin:end])
    return slots.prefill(0, ids[cuts[-1] if cuts else 0 :], keep)


@pytest.mark.parametrize(
    "length", [2 * PREFILL_CHUNK, 2 * PREFILL_CHUNK + 1, 2 * PREFILL_CHUNK + 33, MASK_STEP + PREFILL_CHUNK + 65]
)
def test_a_prompt_has_the_same_logits_whole_and_in_parts_that_end_where_pieces_do(length, lm):
    whole = fed(lm, IDS[0, :length], [], keep=PREFILL_CHUNK)
    every = list(range(PREFILL_CHUNK, length, PREFILL_CHUNK))
    for cuts in (every, every[:1], every[-1:]):
        kept = min(PREFILL_CHUNK, length - cuts[-1])
        assert np.array_equal(fed(lm, IDS[0, :length], cuts, keep=kept), whole[-kept:])


@pytest.mark.parametrize("length", [PREFILL_CHUNK, 3 * PREFILL_CHUNK, MASK_STEP])
def test_what_a_piece_leaves_is_the_same_whatever_follows_it(length, lm):
    slots = lm.allocate_slots(4)
    slots.prefill(0, IDS[0, :length])
    for row, more in ((1, 1), (2, 33), (3, PREFILL_CHUNK + 1)):
        slots.prefill(row, IDS[0, : length + more])
    slots.decode(IDS[0, :4])
    for row in range(4):
        slots.crop(row, length)
    ends = [slots.prefill(row, IDS[1, :9], keep=9) for row in range(4)]
    assert all(np.array_equal(end, ends[0]) for end in ends[1:])


def test_a_prompt_is_fed_as_it_is_whatever_the_row_held_before(lm):
    slots = lm.allocate_slots(2)
    slots.prefill(0, IDS[0, :700]), slots.prefill(1, IDS[1, :30])
    slots.decode(IDS[:2, 700])
    slots.crop(0, 0)
    assert np.array_equal(slots.prefill(0, IDS[2, :100], keep=100), fed(lm, IDS[2, :100], [], keep=100))


@pytest.mark.parametrize("name", [*EXACT, "wide fp32", "wide int8", "wide int8-kv8", "gemma2 int8-kv8"])
def test_rows_of_very_different_length_step_together_as_each_does_alone(name, opened):
    lm = opened(name)
    lengths = (
        1,
        2,
        MASK_STEP - 1,
        1000,
    )  # one step makes the room larger, and others are in larger room than alone
    slots = lm.allocate_slots(4)
    for row, length in enumerate(lengths):
        slots.prefill(row, IDS[row, :length])
    together = np.stack([slots.decode(IDS[:, 1100 + i]) for i in range(9)], axis=1)
    for row, length in enumerate(lengths):
        alone = lm.allocate_slots(1)
        alone.prefill(0, IDS[row, :length])
        said = [alone.decode(IDS[row : row + 1, 1100 + i])[0] for i in range(9)]
        assert np.array_equal(np.stack(said), together[row])


@pytest.mark.parametrize("name", ["llama int4-64", "gpt2 int4-head4", "llama fp32"])
def test_a_spare_row_keeps_one_company_and_changes_nothing_else(name, opened):
    slots, plain = (CompactSlots(opened(name), 2, num_spare=spare) for spare in (1, 0))
    said = []
    for own in (slots, plain):
        own.prefill(0, IDS[0, : MASK_STEP - 2]), own.prefill(1, IDS[1, :5])
        own.decode(IDS[:2, 7]), own.swap(0, 1), own.copy(1, 0, PREFILL_CHUNK), own.release(1, 3)
        said.append([own.prefill(1, IDS[2, :9], keep=9), own.decode(IDS[:2, 8])])
        own.copy(0, 1, MASK_STEP - 1)
    assert all(map(np.array_equal, *said))
    for at in range(MASK_STEP - 1, MASK_STEP + 2):  # a mask is made anew
        slots.crop(0, at), plain.crop(0, at), plain.crop(1, at)
        alone, both = slots.decode(IDS[:1, at]), plain.decode(IDS[[0, 0], at])
        assert np.array_equal(alone[0], both[0])
        assert all(map(np.array_equal, slots.keys_and_values(0), plain.keys_and_values(0)))
        plain.copy(0, 1, at + 1)


def test_room_grows_and_keeps_everything(lm):
    right, slots = fed(lm, IDS[0], [], keep=compact_model.CONTEXT), lm.allocate_slots(2)
    slots.prefill(1, IDS[1, :MASK_STEP])
    slots.prefill(0, IDS[0, : MASK_STEP - 1])
    for at in range(MASK_STEP - 1, MASK_STEP + 2):  # the third token is the first that has no room
        logits = slots.decode(IDS[:2, at])
    assert np.abs(logits[0] - right[MASK_STEP + 1]).max() < 0.05
    slots.crop(0, MASK_STEP - PREFILL_CHUNK)
    rest = slots.prefill(0, IDS[0, MASK_STEP - PREFILL_CHUNK :], keep=PREFILL_CHUNK)
    assert np.array_equal(rest, right[-PREFILL_CHUNK:]) and slots.lengths.tolist() == [
        compact_model.CONTEXT,
        MASK_STEP + 3,
    ]
    slots.crop(1, MASK_STEP)
    assert np.array_equal(slots.prefill(1, IDS[1, MASK_STEP:600]), fed(lm, IDS[1, :600], []))


def test_a_step_touches_no_token_that_was_there_before(lm):
    slots = lm.allocate_slots(2)
    slots.prefill(0, IDS[0, :90]), slots.prefill(1, IDS[1, :40])
    before = [buffer.copy() for buffer in slots._buffers]
    slots.decode(IDS[:2, 100])
    for old, new in zip(before, slots._buffers, strict=True):
        changed = np.argwhere((old != new).any(axis=(1, 3)))
        assert changed.tolist() == [[0, 90], [1, 40]]


def test_logits_that_were_given_stay_what_they_are(lm):
    slots = lm.allocate_slots(1)
    fed_first = slots.prefill(0, IDS[0, :10])
    stepped = slots.decode(IDS[:1, 10])
    copies = fed_first.copy(), stepped.copy()
    slots.prefill(0, IDS[0, 11:20]), slots.decode(IDS[:1, 20])
    assert np.array_equal(fed_first, copies[0]) and np.array_equal(stepped, copies[1])
