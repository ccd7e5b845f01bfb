"""The compact graph, running: keys and values stay where they are, and a step touches nothing but its own tokens."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession, OrtValue

from refrain.chat import model_folder
from refrain.runtime import session
from refrain.runtime.kv_memory import KVMemory
from refrain.runtime.language_model import Ids, Logits
from refrain.runtime.shared_memory import DraftRows, SharedKVMemory

MASK_STEP = 512  # tokens by which the mask of a step widens: it is read whole, however short the sequences are


class CompactSession:
    """A causal language model behind `language_model.LanguageModel`, and slots that are filled one by one."""

    def __init__(self, folder: Path, onnx_session: InferenceSession) -> None:
        self.onnx_session = onnx_session
        self.context = model_folder.read_context_length(folder)
        self._attention_heads = model_folder.read_attention_heads(folder)
        inputs = {value.name: value for value in onnx_session.get_inputs()}
        self.past_names = session.past_names(onnx_session)
        self.present_names = [name.replace("past_key_values", "present") for name in self.past_names]
        self.kv_shapes = [(inputs[name].shape[1], inputs[name].shape[3]) for name in self.past_names]
        self.kv_type = session.KV_TYPES[inputs[self.past_names[0]].type]
        self.kv_bytes_per_token = sum(heads * head_dim for heads, head_dim in self.kv_shapes) * self.kv_type.itemsize
        self.vocab_size = onnx_session.get_outputs()[0].shape[2]

    def allocate_slots(self, count: int, num_draft_tokens: int = 0) -> "CompactSlots":
        """A KV cache for so many sequences, all empty; ValueError where so many drafts cannot be fed exactly."""
        slots = CompactSlots(self, count, num_draft_tokens, num_spare=int(not self.rounds_alone_as_in_company))
        if num_draft_tokens:
            if self.onnx_session.get_session_options().intra_op_num_threads > self._attention_heads:
                raise ValueError(
                    "prompt_lookup_num_tokens: attention with more threads than heads rounds a token alone otherwise; "
                    f"give {self._attention_heads} threads or fewer, or leave it out"
                )
            require_exact_rows(slots, min(1 + num_draft_tokens, self.context))
        return slots

    @cached_property
    def rounds_alone_as_in_company(self) -> bool:
        """Whether a step of one row leaves the bits that this row has beside another; two steps tell.

        Without AVX-512 it does not in 4 bits: ONNX Runtime has a kernel for one row, which sums in another order.
        """
        left = []
        for rows in (1, 2):
            slots = CompactSlots(self, 2)
            left.append([slots.decode(np.zeros(rows, dtype=np.int64))[0], *slots.keys_and_values(0)])
        return all(map(np.array_equal, *left))

    def forward(
        self, ids: Ids, mask: Ids, cache: "CompactSlots | None", keep: int = 0
    ) -> tuple[Logits, "CompactSlots"]:
        """What LanguageModel promises. Prompts are fed one by one, so no row's logits depend on others."""
        slots = cache or self.allocate_slots(len(ids))
        columns = ids.shape[1]
        if cache and columns == 1:
            return slots.decode(ids[:, 0])[:, None], slots
        kept = keep or columns
        shown = mask[:, -columns:].astype(bool)
        if len(ids) == 1 and shown.all():
            return slots.prefill(0, ids[0], kept)[None], slots  # no copy: they may be large
        logits = np.zeros((len(ids), kept, self.vocab_size), dtype=np.float32)
        for row, visible in enumerate(shown):
            row_logits = slots.prefill(row, ids[row, visible], min(kept, int(visible.sum())))
            logits[row, kept - len(row_logits) :] = row_logits
        return logits, slots

    def select_rows(self, cache: "CompactSlots", rows: list[int]) -> "CompactSlots":
        """What LanguageModel promises: the first slots of as many as there were."""
        cache.reorder(rows)
        return cache

    def fork_row(self, cache: "CompactSlots", row: int) -> "CompactSlots":
        """What LanguageModel promises."""
        slots = self.allocate_slots(1)
        slots.crop(0, int(cache.lengths[row]))
        for target, source in zip(slots.keys_and_values(0), cache.keys_and_values(row), strict=True):
            target[:] = source
        return slots


class CompactSlots:
    """Keys and values of several sequences, each as long as it is; one buffer a layer, read and written in place.

    The first row of all is the spare one, if any, which says its first token again and again, in company of the first
    slot where that is alone. Before the row of this slot lie as many rows as there may be tokens in drafts; then it has
    another beside the spare one, with the same memory: a draft is company enough.
    """

    def __init__(self, model: CompactSession, count: int, num_draft_tokens: int = 0, num_spare: int = 0) -> None:
        self._model, self._num_spare = model, num_spare
        num_twins = num_spare if num_draft_tokens else 0
        self._first = num_spare + num_twins + num_draft_tokens  # the row of slot 0
        self._alone = num_spare or self._first  # ... where it is alone
        self.lengths = np.zeros(count, dtype=np.int64)
        shapes = [(count, heads, model.context, head_dim) for heads, head_dim in model.kv_shapes]
        self._memory: list[KVMemory] | list[SharedKVMemory]
        if num_draft_tokens:
            self._memory = [SharedKVMemory(shape, model.kv_type, self._first, num_spare) for shape in shapes]
            self._draft_rows = DraftRows(self._memory, self._first)
        else:
            self._memory = [KVMemory(shape, model.kv_type, num_spare) for shape in shapes]
        self._rows = [memory.rows for memory in self._memory]
        self._buffers = [memory.array for memory in self._memory]
        self._ids = np.zeros((self._first + count, 1), dtype=np.int64)
        self._mask = self._make_mask(min(MASK_STEP, model.context))
        self._logits = np.zeros((len(self._ids), 1, model.vocab_size), dtype=np.float32)
        self._bindings: dict[tuple[int, int], SlotBinding] = {}

    def prefill(self, slot: int, ids: Ids, keep: int = 1) -> Logits:
        """Append ids to a slot; logits [keep, vocabulary] after the last `keep` of them."""
        start = int(self.lengths[slot])
        length = session.extended_length(start, len(ids), self._model.context)
        chunks = []
        for begin, end in session.prefill_chunks(start, length):
            wanted_logits = end - max(begin, length - keep)
            logits = self._prefill_chunk(slot, ids[begin - start : end - start], max(1, wanted_logits))
            chunks += [logits] if wanted_logits > 0 else []
        return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)

    def decode(self, ids: Ids) -> Logits:
        """Append one id to each of the first slots; logits [slots, vocabulary] after them."""
        self._fit_mask(session.extended_length(int(self.lengths[: len(ids)].max()), 1, self._model.context))
        first = self._alone if len(ids) == 1 else self._first
        last = first + len(ids)
        self._ids[first:last, 0] = ids
        self._mask[first:last] = np.arange(self._mask.shape[1]) <= self.lengths[: len(ids), None]
        self.lengths[: len(ids)] += 1
        begin = first - self._num_spare if len(ids) == 1 else first
        self._model.onnx_session.run_with_iobinding(self._bind(begin, last).decode_io)
        return self._logits[first:last, 0].copy()

    def decode_drafts(self, ids: list[list[int]]) -> list[Logits]:
        """Append several ids to each of the first slots; logits [ids, vocabulary] of each slot, as of so many steps."""
        if len(ids) == len(ids[0]) == 1:  # nothing is drafted, and it has no company
            return [self.decode(np.array(ids[0]))]
        lengths, context = self.lengths.tolist(), self._model.context
        self._fit_mask(
            max(session.extended_length(length, len(own), context) for length, own in zip(lengths, ids, strict=False))
        )
        rows = self._draft_rows.place([len(own) - 1 for own in ids])
        columns = np.arange(self._mask.shape[1])
        for slot, (own, placed) in enumerate(zip(ids, rows, strict=True)):
            self._ids[placed, 0] = own
            self._mask[placed] = columns <= lengths[slot] + np.arange(len(own))[:, None]
            self.lengths[slot] += len(own)
        first = self._first + len(ids) - sum(map(len, ids))
        self._model.onnx_session.run_with_iobinding(self._bind(first, self._first + len(ids)).decode_io)
        return [self._logits[placed, 0] for placed in rows]

    def keys_and_values(self, slot: int) -> list[NDArray[Any]]:
        """Of each layer keys, then values, [heads, tokens, head_dim], as the graph keeps them of a sequence."""
        return [buffer[slot, :, : self.lengths[slot]] for buffer in self._buffers]

    def copy(self, source: int, target: int, length: int) -> None:
        """Make the first tokens of one slot those of another."""
        if source != target:
            for buffer in self._buffers:
                buffer[target, :, :length] = buffer[source, :, :length]
        self.crop(target, length)

    def swap(self, first: int, second: int) -> None:
        """Exchange what two slots hold."""
        both, length = [first, second], int(max(self.lengths[first], self.lengths[second]))
        self.lengths[both] = self.lengths[both[::-1]]
        for buffer in self._buffers:
            buffer[both, :, :length] = buffer[both[::-1], :, :length]

    def reorder(self, slots: list[int]) -> None:
        """Make the first slots what these slots were."""
        self.lengths[: len(slots)] = self.lengths[slots]
        length = int(self.lengths.max())
        for buffer in self._buffers:
            buffer[: len(slots), :, :length] = buffer[slots, :, :length]

    def crop(self, slot: int, length: int) -> None:
        """Forget all tokens of a slot but the first."""
        self.lengths[slot] = length

    def release(self, slot: int, length: int) -> None:
        """Forget all tokens of a slot but the first, and give back the memory that they took."""
        self.crop(slot, length)
        for memory in self._memory:
            memory.release(slot, length)

    def _prefill_chunk(self, slot: int, ids: Ids, keep: int) -> Logits:
        length = int(self.lengths[slot]) + len(ids)
        binding = self._bind(self._first + slot, self._first + slot + 1).prefill_io
        binding.bind_cpu_input("input_ids", np.ascontiguousarray(ids[None]))
        binding.bind_cpu_input("attention_mask", np.ones((1, length), dtype=np.int64))
        logits_at = OrtValue.ortvalue_from_numpy(np.arange(len(ids) - keep, len(ids)))  # as numpy it must be required
        binding.bind_ortvalue_input("logits_at", logits_at)
        binding.bind_output("logits", "cpu")  # no buffer of ours: the graph declares one column, more may be wanted
        self._model.onnx_session.run_with_iobinding(binding)
        self.lengths[slot] = length
        return np.asarray(binding.get_outputs()[-1].numpy()[0])

    def _fit_mask(self, length: int) -> None:
        """Make the mask wide enough, and not far wider; what is bound to it is bound anew."""
        width = min(-(-length // MASK_STEP) * MASK_STEP, self._model.context)
        if not width <= self._mask.shape[1] <= 2 * width:
            self._mask = self._make_mask(width)
            self._bindings = {}

    def _make_mask(self, width: int) -> NDArray[np.int64]:
        """Of all rows, with nothing visible but the first token of the spare one."""
        mask = np.zeros((len(self._ids), width), dtype=np.int64)
        mask[: self._num_spare, 0] = 1
        return mask

    def _bind(self, first: int, last: int) -> "SlotBinding":
        if (first, last) not in self._bindings:
            self._bindings[first, last] = SlotBinding(self._model, self._view_rows(first, last))
        return self._bindings[first, last]

    def _view_rows(self, first: int, last: int) -> dict[str, OrtValue]:
        """Tensors over the buffers, from one row to another."""
        step_arrays = {"input_ids": self._ids, "attention_mask": self._mask, "logits": self._logits}
        arrays = {**step_arrays, **dict(zip(self._model.past_names, self._rows, strict=True))}
        views = {name: OrtValue.ortvalue_from_numpy(array[first:last]) for name, array in arrays.items()}
        return views | {"logits_at": OrtValue.ortvalue_from_numpy(np.array([-1]))}


class SlotBinding:
    """Some slots, bound to the graph once: to decode everything, to prefill the cache alone."""

    def __init__(self, model: CompactSession, views: dict[str, OrtValue]) -> None:
        self._views = views  # what is bound must stay alive
        self.decode_io, self.prefill_io = model.onnx_session.io_binding(), model.onnx_session.io_binding()
        for binding in (self.decode_io, self.prefill_io):
            for past, present in zip(model.past_names, model.present_names, strict=True):
                binding.bind_ortvalue_input(past, views[past])
                binding.bind_ortvalue_output(present, views[past])
        for name in ("input_ids", "attention_mask", "logits_at"):
            self.decode_io.bind_ortvalue_input(name, views[name])
        self.decode_io.bind_ortvalue_output("logits", views["logits"])


def require_exact_rows(slots: CompactSlots, count: int) -> None:
    """ValueError where so many tokens as rows of one call are another bit than in a step each; slots stay empty."""
    ids = [token % slots._model.vocab_size for token in range(count)]
    steps = np.concatenate([slots.decode(np.array([token])) for token in ids])
    memory = [buffer[0, :, :count].copy() for buffer in slots._buffers]
    slots.release(0, 0)  # what the steps have left would be right
    (rows,) = slots.decode_drafts([ids])
    pairs = [(steps, rows), *zip(memory, (buffer[0, :, :count] for buffer in slots._buffers), strict=True)]
    is_exact = all(np.array_equal(*pair) for pair in pairs)
    slots.release(0, 0)
    if not is_exact:
        reason = "this model rounds tokens that are fed together otherwise than alone"
        raise ValueError(f"prompt_lookup_num_tokens: {reason}; leave it out")
