"""A model folder open in PyTorch, as runtime.loading opens an exported one: on any device, with slots for an engine.

Sequences are fed one by one, so that none changes another by a bit. A server for many on a GPU is what vLLM is for.
"""

from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from refrain.chat import model_folder
from refrain.models.pretrained import snapshot
from refrain.models.pytorch import loading
from refrain.models.pytorch.language_model import TorchLanguageModel

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]
LONGEST = 2**20  # tokens, of a model that names no end


def open_session(folder: Path, threads: int | None = None, device: str | None = None) -> "TorchSession":
    """The weights of a folder, on a device by PyTorch's name, the fastest there is by default.

    ValueError when there are none, or none that load.
    """
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise ValueError(f"{folder}: it holds no config.json and safetensors; name a merged model, as models/merged is")
    snapshot.refuse_code(folder / "config.json", str(folder))
    place = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        model = loading.load_pretrained(folder).to(place)  # type: ignore[arg-type]
    except (OSError, RuntimeError, KeyError, SafetensorError) as error:
        raise ValueError(f"{folder}: it does not load in PyTorch ({' '.join(str(error).split())})") from error
    return TorchSession(model, min(model_folder.read_context_length(folder), LONGEST))


def choose_device(name: str | None) -> torch.device:
    """The device of that name, or the accelerator of this machine; ValueError for one that is not here."""
    if name is None:
        found = torch.accelerator.current_accelerator(check_available=True)
        return torch.device("cpu") if found is None else found
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"device: {name} is none that PyTorch has here ({reason}); leave it out, or give cpu"
        ) from error
    return torch.device(name)


class TorchSession:
    """What `runtime.loading.Session` offers."""

    def __init__(self, model: PreTrainedModel, context: int) -> None:
        self.context = context
        self.vocab_size = int(model.get_output_embeddings().weight.shape[0])
        self._lm, self._lock = TorchLanguageModel(model), Lock()  # the head hears from one thread at a time
        cache = self.feed(np.zeros(1, dtype=np.int64), DynamicCache(), 1)[1]
        self.kv_bytes_per_token = sum(values.nbytes for pair in list_layers(cache) for values in pair)

    def allocate_slots(self, count: int) -> "TorchSlots":
        """A KV cache for so many sequences, all empty."""
        return TorchSlots(self, count)

    @torch.inference_mode()
    def feed(self, ids: Ids, cache: DynamicCache, keep: int) -> tuple[Logits, DynamicCache]:
        """Logits [keep, vocabulary] after the last of the ids of one sequence, and its cache, which is used up."""
        model, begin = self._lm.model, cache.get_seq_length()
        end = begin + len(ids)
        with self._lock, self._lm.head_on_last(keep), self._lm.fast_products():
            out = model(
                input_ids=torch.from_numpy(ids)[None].to(model.device),
                attention_mask=torch.ones((1, end), dtype=torch.long, device=model.device),
                position_ids=torch.arange(begin, end, device=model.device)[None],
                past_key_values=cache,
                use_cache=True,
            )
        return out.logits[0, -keep:].float().cpu().numpy(), out.past_key_values


class TorchSlots:
    """What `runtime.loading.Slots` offers: several sequences, each with a cache of its own."""

    def __init__(self, session: TorchSession, count: int) -> None:
        self._session = session
        self._caches = [DynamicCache() for _ in range(count)]
        self.lengths = np.zeros(count, dtype=np.int64)

    def prefill(self, slot: int, ids: Ids, keep: int = 1) -> Logits:
        """Append ids to a slot; logits [keep, vocabulary] after the last `keep` of them."""
        if not 0 < len(ids) <= self._session.context - self.lengths[slot]:
            length = int(self.lengths[slot]) + len(ids)
            raise ValueError(f"{length} tokens: the model sees 1 to {self._session.context} at once; shorten the text")
        logits, self._caches[slot] = self._session.feed(ids, self._caches[slot], keep)
        self.lengths[slot] += len(ids)
        return logits

    def decode(self, ids: Ids) -> Logits:
        """Append one id to each of the first slots; logits [slots, vocabulary] after them."""
        if (longest := int(self.lengths[: len(ids)].max())) >= self._session.context:  # all of them, or none is fed
            raise ValueError(f"{longest + 1} tokens: the model sees {self._session.context} at once; shorten the text")
        return np.concatenate([self.prefill(slot, ids[slot : slot + 1]) for slot in range(len(ids))])

    def copy(self, source: int, target: int, length: int) -> None:
        """Make the first tokens of one slot those of another."""
        if source != target:
            self._caches[target] = copy_cache(self._caches[source], int(self.lengths[source]))
            self.lengths[target] = self.lengths[source]
        self.crop(target, length)

    def swap(self, first: int, second: int) -> None:
        """Exchange what two slots hold."""
        both = [first, second]
        self._caches[first], self._caches[second] = self._caches[second], self._caches[first]
        self.lengths[both] = self.lengths[both[::-1]]

    def reorder(self, slots: list[int]) -> None:
        """Make the first slots what these slots were."""
        self._caches[: len(slots)] = [copy_cache(self._caches[slot], int(self.lengths[slot])) for slot in slots]
        self.lengths[: len(slots)] = self.lengths[slots]

    def crop(self, slot: int, length: int) -> None:
        """Forget all tokens of a slot but the first."""
        if length < self.lengths[slot]:
            self._caches[slot] = copy_cache(self._caches[slot], length)
        self.lengths[slot] = length

    def release(self, slot: int, length: int) -> None:
        """Forget all tokens of a slot but the first, and give back the memory that they took."""
        self.crop(slot, length)


def copy_cache(cache: DynamicCache, length: int) -> DynamicCache:
    """The first tokens of a cache, in memory of their own."""
    result = DynamicCache()
    for number, (keys, values) in enumerate(list_layers(cache) if length else []):
        result.update(first_tokens(keys, length), first_tokens(values, length), number)
    return result


def list_layers(cache: DynamicCache) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each layer that has any."""
    return [(layer.keys, layer.values) for layer in cache.layers if layer.keys is not None and layer.values is not None]


def first_tokens(values: Tensor, length: int) -> Tensor:
    """Those of a layer, in memory of their own."""
    return values[..., :length, :].contiguous().clone()
