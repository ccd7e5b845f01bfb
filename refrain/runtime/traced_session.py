"""A graph traced by optimum, running: it takes a past and gives a longer one."""

from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, OrtValue

from refrain.chat import model_folder
from refrain.runtime import session
from refrain.runtime.language_model import Ids, Logits

Past = list[OrtValue]


class TracedSession:
    """A causal language model behind `language_model.LanguageModel`, and slots that are filled one by one."""

    def __init__(self, folder: Path, onnx_session: InferenceSession) -> None:
        self._onnx_session = onnx_session
        self.context = model_folder.read_context_length(folder)
        inputs = {value.name: value for value in onnx_session.get_inputs()}
        self._takes_positions = "position_ids" in inputs
        self._past_names = session.past_names(onnx_session)
        self._present_names = [name.replace("past_key_values", "present") for name in self._past_names]
        # What the graph says, since a head may be wider than hidden size / heads.
        self._kv_shapes = [(inputs[name].shape[1], inputs[name].shape[3]) for name in self._past_names]
        self._kv_types = [session.KV_TYPES[inputs[name].type] for name in self._past_names]
        sizes = zip(self._kv_shapes, self._kv_types, strict=True)
        self.kv_bytes_per_token = sum(heads * head_dim * kind.itemsize for (heads, head_dim), kind in sizes)

    def allocate_slots(self, count: int, num_draft_tokens: int = 0) -> "TracedSlots":
        """A KV cache for so many sequences, all empty; ValueError for drafts, which this graph cannot feed exactly."""
        if num_draft_tokens:
            raise ValueError("prompt_lookup_num_tokens: a graph that optimum has traced takes no drafts; leave it out")
        return TracedSlots(self, count)

    def forward(self, ids: Ids, mask: Ids, cache: Past | None, keep: int = 0) -> tuple[Logits, Past]:
        """What language_model.LanguageModel promises."""
        session.extended_length(0, int(mask.sum(axis=1).max()), self.context)
        binding = self._onnx_session.io_binding()
        binding.bind_cpu_input("input_ids", np.ascontiguousarray(ids))
        binding.bind_cpu_input("attention_mask", np.ascontiguousarray(mask))
        if self._takes_positions:
            binding.bind_cpu_input("position_ids", position_ids(mask)[:, -ids.shape[1] :].copy())
        for name, value in zip(self._past_names, self.empty_past(len(ids)) if cache is None else cache, strict=True):
            binding.bind_ortvalue_input(name, value)
        for name in ("logits", *self._present_names):
            binding.bind_output(name, "cpu")
        self._onnx_session.run_with_iobinding(binding)
        logits, *present = binding.get_outputs()
        return logits.numpy()[:, -keep:].astype(np.float32, copy=False), present

    def select_rows(self, cache: Past, rows: list[int]) -> Past:
        """What language_model.LanguageModel promises."""
        return [OrtValue.ortvalue_from_numpy(value.numpy()[rows]) for value in cache]

    def fork_row(self, cache: Past, row: int) -> None:
        """What language_model.LanguageModel promises: the rows of a batch are filled up."""

    def empty_past(self, batch_size: int) -> Past:
        """A past of no tokens."""
        return [
            OrtValue.ortvalue_from_numpy(np.zeros((batch_size, heads, 0, head_dim), dtype))
            for (heads, head_dim), dtype in zip(self._kv_shapes, self._kv_types, strict=True)
        ]


class TracedSlots:
    """Several sequences, each with a past of its own: this graph holds none of different lengths together."""

    def __init__(self, model: TracedSession, count: int) -> None:
        self._model = model
        self._pasts = [model.empty_past(1) for _ in range(count)]
        self.lengths = np.zeros(count, dtype=np.int64)

    def prefill(self, slot: int, ids: Ids, keep: int = 1) -> Logits:
        """Append ids to a slot; logits [keep, vocabulary] after the last `keep` of them."""
        start = int(self.lengths[slot])
        length = session.extended_length(start, len(ids), self._model.context)
        chunks = []
        for begin, end in session.prefill_chunks(start, length):
            wanted_logits = end - max(begin, length - keep)
            mask = np.ones((1, end), dtype=np.int64)
            logits, self._pasts[slot] = self._model.forward(ids[None, begin - start : end - start], mask,
                                                           self._pasts[slot], max(1, wanted_logits))  # fmt: skip
            self.lengths[slot] = end
            chunks += [logits[0]] if wanted_logits > 0 else []
        return np.concatenate(chunks)

    def decode(self, ids: Ids) -> Logits:
        """Append one id to each of the first slots; logits [slots, vocabulary] after them."""
        longest = int(self.lengths[: len(ids)].max())
        session.extended_length(longest, 1, self._model.context)  # all of them, or none is fed
        return np.concatenate([self.prefill(slot, ids[slot : slot + 1]) for slot in range(len(ids))])

    def copy(self, source: int, target: int, length: int) -> None:
        """Make the first tokens of one slot those of another."""
        self._pasts[target] = self._pasts[source]
        self.lengths[target] = self.lengths[source]
        self.crop(target, length)

    def swap(self, first: int, second: int) -> None:
        """Exchange what two slots hold."""
        both = [first, second]
        self._pasts[first], self._pasts[second] = self._pasts[second], self._pasts[first]
        self.lengths[both] = self.lengths[both[::-1]]

    def reorder(self, slots: list[int]) -> None:
        """Make the first slots what these slots were."""
        self._pasts[: len(slots)] = [self._pasts[slot] for slot in slots]
        self.lengths[: len(slots)] = self.lengths[slots]

    def crop(self, slot: int, length: int) -> None:
        """Forget all tokens of a slot but the first."""
        if length < self.lengths[slot]:
            cropped = (np.ascontiguousarray(value.numpy()[:, :, :length]) for value in self._pasts[slot])
            self._pasts[slot] = [OrtValue.ortvalue_from_numpy(value) for value in cropped]
        self.lengths[slot] = length

    def release(self, slot: int, length: int) -> None:
        """Forget all tokens of a slot but the first, and give back the memory that they took."""
        self.crop(slot, length)


def position_ids(mask: Ids) -> Ids:
    """The position of each id among those of its row that the mask shows."""
    return (mask.cumsum(axis=1) - 1).clip(0)
