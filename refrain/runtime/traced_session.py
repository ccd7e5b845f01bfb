"""A graph traced by optimum, running: it takes a past and gives a longer one."""

from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, OrtValue

from refrain.chat import model_folder
from refrain.runtime import session
from refrain.runtime.language_model import Ids, Logits

Past = list[OrtValue]


TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class TracedSession:
    """A causal language model behind `decoding.LanguageModel`, and rows of its own to be fed one by one."""

    def __init__(self, folder: Path, opened: InferenceSession) -> None:
        self._session = opened
        self.context = model_folder.read_context_length(folder)
        inputs = {each.name: each for each in opened.get_inputs()}
        self._positioned = "position_ids" in inputs
        self._past = session.past_names(opened)
        self._present = [name.replace("past_key_values", "present") for name in self._past]
        # What the graph says, since a head may be wider than hidden size / heads.
        self._shapes = [(inputs[name].shape[1], inputs[name].shape[3]) for name in self._past]
        self._types = [TYPES[inputs[name].type] for name in self._past]

    def slots(self, rows: int) -> "TracedSlots":
        """Rows of tokens, all empty."""
        return TracedSlots(self, rows)

    def forward(self, ids: Ids, mask: Ids, cache: Past | None, keep: int = 0) -> tuple[Logits, Past]:
        """What decoding.LanguageModel promises."""
        session.extended_length(0, int(mask.sum(axis=1).max()), self.context)
        binding = self._session.io_binding()
        binding.bind_cpu_input("input_ids", np.ascontiguousarray(ids))
        binding.bind_cpu_input("attention_mask", np.ascontiguousarray(mask))
        if self._positioned:
            binding.bind_cpu_input("position_ids", positions(mask)[:, -ids.shape[1] :].copy())
        for name, value in zip(self._past, self.empty(len(ids)) if cache is None else cache, strict=True):
            binding.bind_ortvalue_input(name, value)
        for name in ("logits", *self._present):
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        logits, *present = binding.get_outputs()
        return logits.numpy()[:, -keep:].astype(np.float32, copy=False), present

    def empty(self, rows: int) -> Past:
        """A past of no tokens."""
        return [
            OrtValue.ortvalue_from_numpy(np.zeros((rows, heads, 0, width), dtype))
            for (heads, width), dtype in zip(self._shapes, self._types, strict=True)
        ]


class TracedSlots:
    """Several rows, each with a past of its own: this graph holds no rows of different lengths together."""

    def __init__(self, model: TracedSession, rows: int) -> None:
        self._model = model
        self._pasts = [model.empty(1) for _ in range(rows)]
        self.lengths = np.zeros(rows, dtype=np.int64)

    def prefill(self, row: int, ids: Ids, keep: int = 1) -> Logits:
        """Append ids to a row; logits [keep, vocabulary] after the last `keep` of them."""
        before = int(self.lengths[row])
        length = session.extended_length(before, len(ids), self._model.context)
        kept = []
        for begin, end in session.prefill_chunks(before, length):
            wanted = end - max(begin, length - keep)
            mask = np.ones((1, end), dtype=np.int64)
            logits, self._pasts[row] = self._model.forward(ids[None, begin - before : end - before], mask,
                                                           self._pasts[row], max(1, wanted))  # fmt: skip
            self.lengths[row] = end
            kept += [logits[0]] if wanted > 0 else []
        return np.concatenate(kept)

    def decode(self, ids: Ids) -> Logits:
        """Append one id to each of the first rows; logits [rows, vocabulary] after them."""
        session.extended_length(
            int(self.lengths[: len(ids)].max()), 1, self._model.context
        )  # all of them, or none is fed
        return np.concatenate([self.prefill(row, ids[row : row + 1]) for row in range(len(ids))])

    def copy(self, source: int, target: int, length: int) -> None:
        """Make the first tokens of one row those of another."""
        self._pasts[target] = self._pasts[source]
        self.lengths[target] = self.lengths[source]
        self.crop(target, length)

    def reorder(self, rows: list[int]) -> None:
        """Make the first rows what these rows were."""
        self._pasts[: len(rows)] = [self._pasts[row] for row in rows]
        self.lengths[: len(rows)] = self.lengths[rows]

    def crop(self, row: int, length: int) -> None:
        """Forget all tokens of a row but the first."""
        if length < self.lengths[row]:
            kept = (np.ascontiguousarray(value.numpy()[:, :, :length]) for value in self._pasts[row])
            self._pasts[row] = [OrtValue.ortvalue_from_numpy(value) for value in kept]
        self.lengths[row] = length


def positions(mask: Ids) -> Ids:
    """The position of each id among those of its row that the mask shows."""
    return (mask.cumsum(axis=1) - 1).clip(0)
