"""`generate` of transformers, for the contenders that offer it."""

import time
from typing import Any

import torch
from transformers.generation.streamers import BaseStreamer

from benchmarks.contenders import protocol


class TokenTimes(BaseStreamer):
    """Notes when `generate` hands over each token."""

    def __init__(self) -> None:
        self.timed_tokens: protocol.TimedTokens = []

    def put(self, value: torch.Tensor) -> None:
        self.timed_tokens.append((time.perf_counter(), int(value.flatten()[0])))

    def end(self) -> None:
        pass


def generate_with(model: Any) -> protocol.Generate:
    """Greedy decoding by the model's own `generate`."""

    def generate(prompt: list[int], new: int, rows: int) -> protocol.TimedTokens:
        ids, times = torch.tensor([prompt] * rows), TokenTimes()
        settings = {"attention_mask": torch.ones_like(ids), "max_new_tokens": new, "do_sample": False}
        with torch.inference_mode():
            model.generate(ids, streamer=times, **settings)
        return times.timed_tokens[1:]  # the first that a streamer is handed is the prompt

    return generate
