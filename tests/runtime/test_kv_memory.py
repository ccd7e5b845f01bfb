"""Memory for keys and values is taken as it is written to, and given back."""

import mmap
import resource
import sys

import compact_model
import numpy as np
import pytest

from refrain.runtime import loading
from refrain.runtime.kv_memory import KVMemory

FP32 = np.dtype(np.float32)
SHAPE = (4, 3, 1000, 24)  # heads that begin within a page


@pytest.mark.parametrize("slot", range(4))
@pytest.mark.parametrize("length", [0, 1, 137, 999, 1000])
@pytest.mark.parametrize("kind", [np.float32, np.int8])
def test_what_is_given_back_is_one_slots_and_behind_its_first_tokens(slot, length, kind):
    memory = KVMemory(SHAPE, np.dtype(kind))
    memory.array[:] = np.random.default_rng(0).integers(1, 100, SHAPE)
    before = memory.array.copy()
    memory.release(slot, length)
    others = [other for other in range(4) if other != slot]
    assert np.array_equal(memory.array[others], before[others])
    assert np.array_equal(memory.array[slot, :, :length], before[slot, :, :length])


def resident_pages(memory):
    """Pages of the array that hold something."""
    words = memory.array.reshape(-1).view(np.int64)
    size, found = mmap.PAGESIZE // 8, 0
    for begin in range(0, len(words), size):
        found += bool(words[begin : begin + size].any())
    return found


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="this system takes no memory back")
def test_what_is_given_back_is_gone():
    memory = KVMemory(SHAPE, FP32)
    memory.array[:] = 1
    full = resident_pages(memory)
    memory.release(2, 0)
    rows = SHAPE[1] * SHAPE[2] * SHAPE[3] * 4
    assert full - resident_pages(memory) >= rows // mmap.PAGESIZE - 2 * SHAPE[1]


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_room_for_the_whole_context_costs_nothing_until_it_is_used():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = KVMemory((32, 8, 32768, 64), FP32)  # 2 GB
    memory.array[7, 3, 20000:20016] = 1
    assert memory.array[7, 3, 19999:20017].sum() == 16 * 64
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


@pytest.mark.parametrize("precision", ["int8", "int8-kv8"])
def test_a_slot_that_was_given_back_says_what_a_new_one_says(precision, tmp_path_factory):
    lm = loading.load_model(compact_model.build(tmp_path_factory.getbasetemp(), "llama", precision), 1)
    ids = np.random.default_rng(0).integers(0, compact_model.VOCABULARY, (3, 1000))
    slots, new = lm.allocate_slots(2), lm.allocate_slots(1)
    slots.prefill(0, ids[0]), slots.prefill(1, ids[1, :300])
    kept = slots.decode(ids[2, :2])[1]
    slots.release(0, 0)
    assert np.array_equal(slots.prefill(0, ids[2, :90], keep=90), new.prefill(0, ids[2, :90], keep=90))
    slots.swap(0, 1)
    slots.crop(0, 300)
    assert np.array_equal(slots.decode(ids[2, 1:2])[0], kept), "exchanged, the other goes on where it was"
