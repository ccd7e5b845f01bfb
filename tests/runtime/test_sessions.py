"""What holds for every exported model, whichever graph it is: `forward` and rows that are fed one by one."""

import compact_model
import numpy as np
import pytest
import traced_model

from refrain.runtime import compact_session, loading, traced_session
from refrain.runtime.session import PREFILL_CHUNK

IDS = np.random.default_rng(0).integers(0, 259, (3, 240))


GRAPHS = {
    "llama fp32": 1e-4,
    "gpt2 int8": 0.05,
    "llama kv8": 0.05,
    "optimum": 1e-4,
}  # how far rounding goes: it may tip an 8-bit code


@pytest.fixture(scope="module", params=GRAPHS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def lm(name, tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    if name == "optimum":
        return loading.load_model(traced_model.build(base / "tiny"), 1)
    return loading.load_model(compact_model.build(base, *name.split()), 1)


@pytest.fixture(scope="module")
def near(name):
    """A function that tells whether logits differ by no more than rounding."""

    def compare(one, other):
        assert one.shape == other.shape and other.std() > 0.5, "logits that are all alike would prove nothing"
        return np.abs(one - other).max() < GRAPHS[name]

    return compare


def whole(lm, ids):
    """Logits [tokens, vocabulary] of a row in one call."""
    return lm.forward(ids[None], np.ones((1, len(ids)), dtype=np.int64), None)[0][0]


def test_a_graph_is_opened_as_what_it_is(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    assert isinstance(loading.load_model(compact_model.build(base, "llama", "fp32")), compact_session.CompactSession)
    assert isinstance(loading.load_model(traced_model.build(base / "tiny")), traced_session.TracedSession)


def test_rows_that_are_fed_have_the_logits_of_forward(lm, near):
    right, slots = whole(lm, IDS[0]), lm.allocate_slots(3)
    assert near(slots.prefill(2, IDS[0], keep=240), right)
    assert near(slots.prefill(0, IDS[0, :239]), right[238:239])
    assert near(slots.decode(IDS[0, 239:]), right[239:])
    assert slots.lengths.tolist() == [240, 0, 240]


@pytest.mark.parametrize("keep", [1, 2, PREFILL_CHUNK, PREFILL_CHUNK + 1, 3 * PREFILL_CHUNK, 240])
def test_as_many_logits_are_kept_as_are_asked_for_across_pieces(keep, lm):
    slots = lm.allocate_slots(2)
    slots.prefill(0, IDS[0, :7]), slots.prefill(1, IDS[0, :7])
    every = slots.prefill(0, IDS[0, 7:], keep=233)
    kept = slots.prefill(1, IDS[0, 7:], keep=keep)
    assert np.array_equal(kept, every[-keep:]) and len(every) == 233


def test_rows_of_different_length_step_together_as_each_does_alone(lm):
    lengths = (1, 100, 37)
    slots = lm.allocate_slots(3)
    for row, length in enumerate(lengths):
        slots.prefill(row, IDS[row, :length])
    together = np.stack([slots.decode(IDS[:, 200 + i]) for i in range(20)], axis=1)
    for row, length in enumerate(lengths):
        alone = lm.allocate_slots(1)
        alone.prefill(0, IDS[row, :length])
        assert np.array_equal(
            np.stack([alone.decode(IDS[row : row + 1, 200 + i])[0] for i in range(20)]), together[row]
        )


def test_the_first_rows_may_step_without_the_others(lm):
    slots = lm.allocate_slots(3)
    for row in range(3):
        slots.prefill(row, IDS[row, :50])
    right = slots.decode(IDS[:, 50])
    for row in range(3):
        slots.crop(row, 50)
    assert np.array_equal(slots.decode(IDS[:2, 50]), right[:2]) and slots.lengths.tolist() == [51, 51, 50]
    slots.crop(0, 50), slots.crop(1, 50)
    assert np.array_equal(slots.decode(IDS[:, 50]), right)


def test_a_copied_beginning_goes_on_as_its_own(lm):
    slots, alone = lm.allocate_slots(3), lm.allocate_slots(1)
    slots.prefill(0, IDS[0]), slots.prefill(2, IDS[1])  # row 2 has had another text, and a longer one
    slots.copy(0, 2, 2 * PREFILL_CHUNK)
    mixed = np.concatenate([IDS[0, : 2 * PREFILL_CHUNK], IDS[2, :30]])
    assert np.array_equal(slots.prefill(2, IDS[2, :30], keep=30), alone.prefill(0, mixed, keep=30))
    assert np.array_equal(slots.decode(np.array([9, 9, 9]))[2:], alone.decode(np.array([9])))
    slots.copy(0, 1, PREFILL_CHUNK)  # row 1 has had two tokens
    assert np.array_equal(
        slots.prefill(1, IDS[2, :9]),
        lm.allocate_slots(1).prefill(0, np.concatenate([IDS[0, :PREFILL_CHUNK], IDS[2, :9]])),
    )
    slots.crop(0, 240)
    slots.copy(0, 0, 2 * PREFILL_CHUNK)
    assert np.array_equal(slots.prefill(0, IDS[2, :30], keep=30), lm.allocate_slots(1).prefill(0, mixed, keep=30)), (
        "its own copy"
    )


def test_what_is_cut_off_is_forgotten(lm):
    slots = lm.allocate_slots(1)
    slots.prefill(0, IDS[0])
    slots.crop(0, PREFILL_CHUNK)
    again = slots.prefill(0, IDS[1, PREFILL_CHUNK:100], keep=36)
    slots.crop(0, 0)
    assert np.array_equal(
        slots.prefill(0, np.concatenate([IDS[0, :PREFILL_CHUNK], IDS[1, PREFILL_CHUNK:100]]), keep=36), again
    )
    assert slots.lengths.tolist() == [100]


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 1, 1], [2, 2], [1]])
def test_rows_may_be_arranged_anew(order, lm):
    slots = lm.allocate_slots(3)
    for row, length in enumerate((90, 41, 130)):
        slots.prefill(row, IDS[row, :length])
    right = slots.decode(np.array([7, 7, 7]))
    for row, length in enumerate((90, 41, 130)):
        slots.crop(row, length)
    slots.reorder(order)
    assert np.array_equal(slots.decode(np.full(len(order), 7)), right[order])
    assert slots.lengths[: len(order)].tolist() == [(91, 42, 131)[row] for row in order]


def test_past_its_context_a_row_is_refused_and_all_go_on(lm, near):
    ids = np.resize(IDS[0], lm.context)
    right = lm.allocate_slots(1).prefill(0, ids)
    slots = lm.allocate_slots(2)
    slots.prefill(0, IDS[0, :50]), slots.prefill(1, ids)
    with pytest.raises(ValueError, match=f"^{lm.context + 1} tokens: the model sees {lm.context} at once; shorten"):
        slots.decode(np.array([5, 5]))
    with pytest.raises(ValueError, match=f"^{lm.context + 2} tokens: the model sees"):
        slots.prefill(1, np.array([5, 5]))
    with pytest.raises(ValueError, match=f"^{lm.context + 50} tokens: the model sees"):
        slots.prefill(0, ids)
    assert slots.lengths.tolist() == [50, lm.context]
    slots.prefill(0, ids[50:-1]), slots.crop(1, lm.context - 1)
    assert near(slots.decode(ids[[-1, -1]]), np.concatenate([right, right]))


def test_forward_refuses_more_than_the_context_too(lm):
    ids = np.resize(IDS[0], (1, lm.context + 1))
    with pytest.raises(ValueError, match=f"^{lm.context + 1} tokens: the model sees {lm.context} at once; shorten"):
        lm.forward(ids, np.ones_like(ids), None)


def test_a_row_is_fed_one_token_at_least(lm):
    with pytest.raises(ValueError, match=r"^the prompt: it has no ids; a model needs one to begin with$"):
        lm.allocate_slots(1).prefill(0, np.array([], dtype=np.int64))


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_a_left_padded_row_has_the_logits_it_has_alone(keep, lm, near):
    hidden = [5, 0, 7]
    mask = np.array([[0] * count + [1] * (8 - count) for count in hidden])
    ids = np.where(mask, IDS[:, :8], 0)
    logits, cache = lm.forward(ids, mask, None, keep)
    after, cache = lm.forward(np.array([[9], [9], [9]]), np.pad(mask, ((0, 0), (0, 1)), constant_values=1), cache, keep)
    last, _ = lm.forward(np.array([[4], [4], [4]]), np.pad(mask, ((0, 0), (0, 2)), constant_values=1), cache, keep)
    assert logits.shape[1] == (keep or 8)
    for row, count in enumerate(hidden):
        right = whole(lm, np.array([*IDS[row, count:8], 9, 4]))
        seen = min(8 - count, logits.shape[1])
        assert near(logits[row, -seen:], right[:-2][-seen:])
        assert near(after[row], right[-2:-1]) and near(last[row], right[-1:])


def test_forward_goes_on_with_several_ids_at_once(lm, near):
    right, mask = whole(lm, IDS[0, :90]), np.ones((1, 90), dtype=np.int64)
    logits, cache = lm.forward(IDS[:1, :70], mask[:, :70], None, 1)
    more, _ = lm.forward(IDS[:1, 70:90], mask, cache)
    assert near(np.concatenate([logits, more], axis=1)[0], right[69:])
