"""Learning from replies that are good or bad, each by itself: KTO, as its paper and TRL have it."""

import logging
from dataclasses import replace

import torch
from torch import Tensor

from refrain.chat.encoding import ChatTokenizer
from refrain.chat.examples import Example
from refrain.chat.records import Row
from refrain.pipeline.schema import PreferenceConfig
from refrain.training.objectives import sft, unpaired
from refrain.training.objectives.logprobs import LogprobFunction, count_labels
from refrain.training.objectives.unpaired import JudgedReply

log = logging.getLogger(__name__)
MOST_GAIN = 4 / 3  # how much more good replies may weigh than bad ones: arXiv:2402.01306, equation 8


class KTOObjective:
    """The objective of KTO: its rows are replies, and each counts the same, but for the weight of its kind."""

    def __init__(self, preference: PreferenceConfig) -> None:
        self.beta = preference.beta
        self.desirable_weight, self.undesirable_weight = preference.desirable_weight, preference.undesirable_weight

    def encode_rows(self, tokenizer: ChatTokenizer, rows: list[Row]) -> tuple[list[JudgedReply], dict[str, list[str]]]:
        """As `unpaired.encode_rows`."""
        return unpaired.encode_rows(tokenizer, rows)

    def require_rows(self, rows: list[Row], encoded: list[JudgedReply]) -> None:
        """ValueError when no row judges a reply, though there are rows; a warning when one kind outweighs the other."""
        if rows and not encoded:
            raise ValueError(f"data/prepared/train.jsonl: none of {len(rows)} rows has a label or a rejected reply; "
                             "choose method=lora, or a source with label, or with chosen and rejected")  # fmt: skip
        if advice := self.balance_weights(sum(reply.is_desirable for reply in encoded), len(encoded)):
            log.warning("%s", advice)

    def balance_weights(self, good: int, total: int) -> str | None:
        """How the weights would make up for unequal numbers; None where they do."""
        bad = total - good
        if not total:
            return None
        if not good or not bad:
            return f"all {total} replies are {'good' if good else 'bad'} ones; KTO is made to learn from both"
        if self.undesirable_weight * bad <= self.desirable_weight * good <= MOST_GAIN * self.undesirable_weight * bad:
            return None
        name, weight = ("desirable", self.undesirable_weight * bad / good)
        if good > bad:
            name, weight = ("undesirable", self.desirable_weight * good / bad / MOST_GAIN)
        return (f"{good} good and {bad} bad replies: method.preference.{name}_weight from {weight:.2f} to "
                f"{MOST_GAIN * weight:.2f} would balance them")  # fmt: skip

    def examples(self, rows: list[Row], encoded: list[JudgedReply]) -> list[Example]:
        """As `unpaired.examples`."""
        return unpaired.examples(rows, encoded)

    def token_count(self, row: JudgedReply) -> int:
        """What a reply costs in a forward pass, with its prompt."""
        return sft.token_count(row.features)

    def label_count(self, row: JudgedReply) -> int:
        """How many tokens of the reply are labelled."""
        return count_labels(row.features)

    def normaliser(self, rows: list[JudgedReply]) -> float:
        """The number of replies."""
        return float(len(rows))

    def prepare(self, logprobs: LogprobFunction, rows: list[JudgedReply]) -> list[JudgedReply]:
        """The replies with how likely they and their KL examples are now, the reference of all that follows."""
        if not rows:
            return rows
        sums = logprobs([text for row in rows for text in (row.features, row.kl_example)]).view(-1, 2).tolist()
        return [replace(row, reference_logprobs=tuple(reference)) for row, reference in zip(rows, sums, strict=True)]

    def step_context(self, logprobs: LogprobFunction, rows: list[JudgedReply]) -> float:
        """The KL: the mean gain of the KL examples, at least 0; of the whole step, however it is cut into passes."""
        sums = logprobs([row.kl_example for row in rows])
        return max(0.0, float((sums - sums.new_tensor([row.reference_logprobs[1] for row in rows])).mean()))

    def loss(self, logprobs: LogprobFunction, rows: list[JudgedReply], context: float) -> Tensor:
        """1 - sigmoid(beta (r - z)) of a good reply, 1 - sigmoid(beta (z - r)) of a bad one, weighed and summed.

        r is the gain of the reply and z the KL: arXiv:2402.01306, equation 7.
        """
        sums = logprobs([row.features for row in rows])
        gains = sums - sums.new_tensor([row.reference_logprobs[0] for row in rows])
        signs = sums.new_tensor([1.0 if row.is_desirable else -1.0 for row in rows])
        weights = sums.new_tensor(
            [self.desirable_weight if row.is_desirable else self.undesirable_weight for row in rows]
        )
        return (weights * torch.sigmoid(self.beta * signs * (context - gains))).sum()
