"""What a training asks of an objective: supervised fine-tuning is one, preferences and KTO are others."""

from typing import Any, Protocol

import torch

from refrain.chat.encoding import ChatTokenizer
from refrain.chat.examples import Example
from refrain.chat.records import Row
from refrain.training.objectives.logprobs import LogprobFunction


class Objective(Protocol):
    """A module or an object. It never sees a model, only answers to how likely some rows are."""

    def encode_rows(self, tokenizer: ChatTokenizer, rows: list[Row]) -> tuple[list[Any], dict[str, list[str]]]:
        """What is learned from, and by reason the ids of the rows that are left out; all other rows are of this."""

    def require_rows(self, rows: list[Row], encoded: list[Any]) -> None:
        """ValueError with the way out when nothing is left of the training rows."""

    def examples(self, rows: list[Row], encoded: list[Any]) -> list[Example]:
        """The conversations in what `encode_rows` has made of the rows, for the audit."""

    def token_count(self, row: Any) -> int:
        """What a row costs in a forward pass."""

    def label_count(self, row: Any) -> int:
        """How many tokens of a row are labelled."""

    def normaliser(self, rows: list[Any]) -> float:
        """What the summed loss of these rows is divided by: supervised tokens, pairs or replies."""

    def prepare(self, logprobs: LogprobFunction, rows: list[Any]) -> list[Any]:
        """The rows with what the loss needs of the model before its first step."""

    def step_context(self, logprobs: LogprobFunction, rows: list[Any]) -> Any:
        """What the loss of a row needs to know of all rows of its step."""

    def loss(self, logprobs: LogprobFunction, rows: list[Any], context: Any) -> torch.Tensor:
        """The loss, summed over the rows, with a gradient."""
