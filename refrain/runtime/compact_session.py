"""The compact graph, running: keys and values stay where they are, and a step touches nothing but its own tokens."""

from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, OrtValue

from refrain.chat import model_folder
from refrain.runtime import session
from refrain.runtime.language_model import Ids, Logits

ROOM = 512  # tokens of a row to begin with; doubled when they are full


class CompactSession:
    """A causal language model behind `decoding.LanguageModel`, and rows of its own to be fed one by one."""

    def __init__(self, folder: Path, opened: InferenceSession) -> None:
        self.run = opened
        self.context = model_folder.read_context_length(folder)
        inputs = {each.name: each.shape for each in opened.get_inputs()}
        self.past = session.past_names(opened)
        self.present = [name.replace("past_key_values", "present") for name in self.past]
        self.shapes = [(inputs[name][1], inputs[name][3]) for name in self.past]
        self.vocabulary = opened.get_outputs()[0].shape[2]

    def slots(self, rows: int) -> "CompactSlots":
        """Room for rows of tokens, all empty."""
        return CompactSlots(self, rows)

    def forward(
        self, ids: Ids, mask: Ids, cache: "CompactSlots | None", keep: int = 0
    ) -> tuple[Logits, "CompactSlots"]:
        """What decoding.LanguageModel promises. A prompt is fed row by row, so no row's logits depend on others."""
        slots = cache or self.slots(len(ids))
        columns = ids.shape[1]
        if cache and columns == 1:
            return slots.decode(ids[:, 0])[:, None], slots
        logits = np.zeros((len(ids), keep or columns, self.vocabulary), dtype=np.float32)
        for row, shown in enumerate(mask[:, -columns:].astype(bool)):
            own = slots.prefill(row, ids[row, shown], min(keep or columns, int(shown.sum())))
            logits[row, len(logits[row]) - len(own) :] = own
        return logits, slots


class CompactSlots:
    """Keys and values of several rows, each as long as it is; one buffer a layer, read and written in place."""

    def __init__(self, model: CompactSession, rows: int) -> None:
        self._model = model
        self._room = min(ROOM, model.context)
        self.lengths = np.zeros(rows, dtype=np.int64)
        self._buffers = [np.zeros((rows, heads, self._room, width), np.float32) for heads, width in model.shapes]
        self._ids = np.zeros((rows, 1), dtype=np.int64)
        self._mask = np.zeros((rows, self._room), dtype=np.int64)
        self._logits = np.zeros((rows, 1, model.vocabulary), dtype=np.float32)
        self._bound: dict[tuple[int, int], Binding] = {}

    def prefill(self, row: int, ids: Ids, keep: int = 1) -> Logits:
        """Append ids to a row; logits [keep, vocabulary] after the last `keep` of them."""
        before = int(self.lengths[row])
        length = session.extended_length(before, len(ids), self._model.context)
        self._make_room(length)
        kept = []
        for begin, end in session.prefill_chunks(before, length):
            wanted = end - max(begin, length - keep)
            logits = self._run(row, ids[begin - before : end - before], max(1, wanted))
            kept += [logits] if wanted > 0 else []
        return np.concatenate(kept)

    def decode(self, ids: Ids) -> Logits:
        """Append one id to each of the first rows; logits [rows, vocabulary] after them."""
        rows = np.arange(len(ids))
        self._make_room(session.extended_length(int(self.lengths[: len(ids)].max()), 1, self._model.context))
        self._ids[: len(ids), 0] = ids
        self._mask[rows, self.lengths[: len(ids)]] = 1
        self.lengths[: len(ids)] += 1
        self._model.run.run_with_iobinding(self._binding(0, len(ids)).steps)
        return self._logits[: len(ids), 0].copy()

    def copy(self, source: int, target: int, length: int) -> None:
        """Make the first tokens of one row those of another."""
        if source != target:
            for buffer in self._buffers:
                buffer[target, :, :length] = buffer[source, :, :length]
        self.crop(target, length)

    def reorder(self, rows: list[int]) -> None:
        """Make the first rows what these rows were."""
        self.lengths[: len(rows)], self._mask[: len(rows)] = self.lengths[rows], self._mask[rows]
        length = int(self.lengths.max())
        for buffer in self._buffers:
            buffer[: len(rows), :, :length] = buffer[rows, :, :length]

    def crop(self, row: int, length: int) -> None:
        """Forget all tokens of a row but the first."""
        self.lengths[row] = length
        self._mask[row, :length] = 1
        self._mask[row, length:] = 0

    def _run(self, row: int, ids: Ids, keep: int) -> Logits:
        length = int(self.lengths[row]) + len(ids)
        binding = self._binding(row, row + 1).pieces
        binding.bind_cpu_input("input_ids", np.ascontiguousarray(ids[None]))
        binding.bind_cpu_input("attention_mask", np.ones((1, length), dtype=np.int64))
        binding.bind_cpu_input("logits_at", np.arange(len(ids) - keep, len(ids)))
        logits = np.empty((1, keep, self._model.vocabulary), dtype=np.float32)
        binding.bind_ortvalue_output("logits", OrtValue.ortvalue_from_numpy(logits))
        self._model.run.run_with_iobinding(binding)
        self.crop(row, length)
        return np.asarray(logits[0])

    def _make_room(self, length: int) -> None:
        if length <= self._room:
            return
        while self._room < length:
            self._room = min(2 * self._room, self._model.context)
        more = [(0, 0), (0, 0), (0, self._room - self._buffers[0].shape[2]), (0, 0)]
        self._buffers = [np.pad(buffer, more) for buffer in self._buffers]
        self._mask = np.pad(self._mask, more[::2])
        self._bound = {}

    def _binding(self, first: int, last: int) -> "Binding":
        if (first, last) not in self._bound:
            self._bound[first, last] = Binding(self._model, self._views(first, last))
        return self._bound[first, last]

    def _views(self, first: int, last: int) -> dict[str, OrtValue]:
        """Tensors over the buffers, from one row to another."""
        steps = {"input_ids": self._ids, "attention_mask": self._mask, "logits": self._logits}
        named = {**steps, **dict(zip(self._model.past, self._buffers, strict=True))}
        views = {name: OrtValue.ortvalue_from_numpy(array[first:last]) for name, array in named.items()}
        return views | {"logits_at": OrtValue.ortvalue_from_numpy(np.array([-1]))}


class Binding:
    """Some rows of the slots, bound to the graph once: for steps everything, for pieces of prompts the cache."""

    def __init__(self, model: CompactSession, views: dict[str, OrtValue]) -> None:
        self._views = views  # what is bound must stay alive
        self.steps, self.pieces = model.run.io_binding(), model.run.io_binding()
        for binding in (self.steps, self.pieces):
            for past, present in zip(model.past, model.present, strict=True):
                binding.bind_ortvalue_input(past, views[past])
                binding.bind_ortvalue_output(present, views[past])
        for name in ("input_ids", "attention_mask", "logits_at"):
            self.steps.bind_ortvalue_input(name, views[name])
        self.steps.bind_ortvalue_output("logits", views["logits"])
