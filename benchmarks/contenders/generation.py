"""`generate` of transformers, for the contenders that offer it."""

import time

import torch
from transformers.generation.streamers import BaseStreamer

from benchmarks.contenders import protocol


class Moments(BaseStreamer):
    """Notes when `generate` hands over each token."""

    def __init__(self) -> None:
        self.spoken: protocol.Spoken = []

    def put(self, value: torch.Tensor) -> None:
        self.spoken.append((time.perf_counter(), int(value.flatten()[-1])))

    def end(self) -> None:
        pass


def by(model) -> protocol.Speak:
    """Greedy decoding by the model's own `generate`."""

    def speak(prompt: list[int], new: int) -> protocol.Spoken:
        ids, moments = torch.tensor([prompt]), Moments()
        asked = {"attention_mask": torch.ones_like(ids), "max_new_tokens": new, "do_sample": False}
        with torch.inference_mode():
            model.generate(ids, streamer=moments, **asked)
        return moments.spoken[1:]  # the first that a streamer is handed is the prompt

    return speak
