"""The rows that a model has learned from, as its training saw them, and the gradient of each."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from refrain.chat import encoding, examples, records
from refrain.chat.encoding import ChatTokenizer, Features
from refrain.chat.records import Row
from refrain.models.influence import gradients, traced_model
from refrain.models.influence.origin import Origin
from refrain.models.influence.traced_model import TracedModel
from refrain.training import batching
from refrain.training.objectives import logprobs, selection, sft
from refrain.training.objectives.objective import Objective

PASS_TOKENS = 2048  # of one forward pass at most, padding counted
LOGIT_BYTES = 1 << 28  # of the logits of a pass at most: with a large vocabulary they are most of the memory


class EncodedRows(Sequence[Any]):
    """Rows as supervised fine-tuning sees them, each encoded when it is first asked for."""

    def __init__(self, tokenizer: ChatTokenizer, rows: list[Row]) -> None:
        self._tokenizer, self._rows = tokenizer, rows
        self._encoded: dict[int, Features] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: Any) -> Any:
        if number not in self._encoded:
            self._encoded[number] = examples.encode_row(self._tokenizer, self._rows[number])
        return self._encoded[number]


@dataclass(frozen=True)
class LearnedRows:
    """A model with its rows, and the loss of each."""

    traced: TracedModel
    tokenizer: ChatTokenizer
    objective: Objective
    rows: list[Row]  # one for each of `encoded`
    encoded: Sequence[Any]
    context: Any = None

    def make_passes(self) -> list[list[int]]:
        """All rows, several of like length together; a row of a preference is a pass of its own."""
        lengths = self.token_counts()
        if self.objective is not sft:
            return [[row] for row in range(len(lengths))]
        passes = batching.split_forward_passes(lengths, choose_pass_tokens(self.traced), packed=False)
        return [part for rows in passes for part in self.separate_equals(rows)]

    def token_counts(self) -> list[int]:
        """What each row costs in a pass; this encodes all of them."""
        return [self.objective.token_count(self.encoded[number]) for number in range(len(self.encoded))]

    def separate_equals(self, rows: list[int]) -> Iterator[list[int]]:
        """The rows of a pass in as few as keep equal texts apart."""
        while rows:
            first = {tuple(self.encoded[row]["input_ids"]): row for row in reversed(rows)}
            chosen = set(first.values())
            yield [row for row in rows if row in chosen]
            rows = [row for row in rows if row not in chosen]

    def gradients(self, rows: list[int]) -> Iterator[Tensor]:
        """Of each row of a pass, layer by layer [rows, size]."""
        chosen = [self.encoded[row] for row in rows]
        loss = partial(self.objective.loss, rows=chosen, context=self.context)
        return gradients.layer_gradients(self.traced, lambda ask: loss(ask), is_one_row=self.objective is not sft)


def read_learned_rows(origin: Origin) -> LearnedRows:
    """All rows that were learned from; ValueError where they, or their loss, cannot be had any more."""
    objective = selection.select_objective(origin.preference)
    is_full = not (origin.adapter / "adapter_config.json").is_file()
    if origin.preference is not None and (is_full or origin.starts_from_adapter):
        raise ValueError("the loss of each pair counts from the model before its first step, which is not kept where "
                         "all weights were trained, or where an earlier adapter went on")  # fmt: skip
    traced = traced_model.open_traced(origin.base, origin.adapter)
    tokenizer = encoding.load_tokenizer(origin.adapter)
    rows = records.read_rows(origin.prepared / "train.jsonl")
    if objective is sft:
        learned, _ = records.split_bad_replies(rows)
        return LearnedRows(traced, tokenizer, objective, learned, EncodedRows(tokenizer, learned))
    encoded, _ = objective.encode_rows(tokenizer, rows)
    learned_ids = [example.row_id for example in objective.examples(rows, encoded)]
    by_id = {row["id"]: row for row in rows}
    step = max(1, len(learned_ids) // max(1, len(encoded)))  # two examples are one pair
    learned = [by_id[row_id] for row_id in learned_ids[::step]]
    with without_adapter(traced)():
        encoded = objective.prepare(partial(score_texts, traced), encoded)
    context = objective.step_context(partial(score_texts, traced), encoded)
    return LearnedRows(traced, tokenizer, objective, learned, encoded, context)


def choose_pass_tokens(traced: TracedModel) -> int:
    """How many tokens share a pass; a longer row is one by itself."""
    vocabulary = int(traced.model.config.get_text_config().vocab_size)
    return max(1, min(PASS_TOKENS, LOGIT_BYTES // (4 * vocabulary)))


def without_adapter(traced: TracedModel) -> Callable[[], Any]:
    return traced.model.disable_adapter if isinstance(traced.model, PeftModel) else nullcontext


def score_texts(traced: TracedModel, texts: list[Features]) -> Tensor:
    """Their log-probabilities, in passes that fit, without gradients."""
    result, lengths = torch.zeros(len(texts)), [len(text["input_ids"]) for text in texts]
    with torch.no_grad():
        for rows in batching.split_forward_passes(lengths, choose_pass_tokens(traced), packed=False):
            scores = logprobs.sequence_logprobs(traced.model, [texts[row] for row in rows], packed=False)
            result[rows] = scores.cpu()
    return result


def encode_answer(tokenizer: ChatTokenizer, prompt_ids: list[int], reply: str) -> Features:
    """A prompt with a reply to it, which alone is labelled, as training would have it."""
    index, marker = tokenizer.index, tokenizer.end_marker
    if index.control_pattern.match(marker):
        end = tokenizer.tokenizer.encode(marker.rstrip(), add_special_tokens=False).ids
        reply_ids = [*index.verbatim.encode(reply, add_special_tokens=False).ids, *end]
    else:
        reply_ids = list(index.verbatim.encode(reply + marker, add_special_tokens=False).ids)
    return {
        "input_ids": [*prompt_ids, *reply_ids],
        "labels": [*[encoding.IGNORE_INDEX] * len(prompt_ids), *reply_ids],
    }
