"""Pairs of replies, and replies that are good or bad, to learn from."""

from functools import partial

import torch
from torch.nn.utils.rnn import pad_sequence

from refrain.chat.encoding import IGNORE_INDEX
from refrain.models.pytorch import loading
from refrain.pipeline.schema import PreferenceConfig
from refrain.training import packing
from refrain.training.objectives import logprobs, selection

BETA = {"sigmoid": 0.3, "ipo": 0.5, "kto": 0.3, "orpo": 0.2}


def turns(*said):
    return [dict(zip(("role", "content"), turn.split(": ", 1), strict=True)) for turn in said]


def paired_row(name, asked, better, worse):
    return {"id": name, "messages": [*turns(*asked), {"role": "assistant", "content": better}], "rejected": worse}


def judged_row(name, asked, reply, label):
    return {"id": name, "messages": [*turns(*asked), {"role": "assistant", "content": reply}], "label": label}


ROWS = [
    paired_row("plain", ["user: hello 🙂"], "hello there", "não"),
    paired_row("prefix", ["user: who?"], "the user", "the user and the assistant"),
    paired_row("turns", ["user: a?", "assistant: the user", "user: and now?"], "the assistant", "hello"),
    paired_row("system", ["system: be the assistant", "user: hello?"], "hello there 🙂", "the"),
    paired_row("silent", ["user: the user there"], "hello", ""),
]
JUDGED = [
    judged_row("good", ["user: hello 🙂"], "hello there", True),
    judged_row("bad", ["user: who?"], "the user and the assistant", False),
    judged_row("turns", ["user: a?", "assistant: the user", "user: and now?"], "the assistant", True),
    judged_row("system", ["system: be the assistant", "user: hello?"], "hello there 🙂", True),
    judged_row("silent", ["user: the user there"], "", False),
]

LONG = judged_row("long", ["user: " + "hello there " * 9], "the user " * 9, True)  # beside it no KL example is cut


def objective(loss, good=1.0, bad=1.0):
    weights = {"desirable_weight": good, "undesirable_weight": bad}
    return selection.select_objective(PreferenceConfig(loss=loss, beta=BETA[loss], **weights))


def logprobs_of(model, packed=False):
    return partial(logprobs.sequence_logprobs, model, packed=packed)


def sides(rows):
    return [pair.chosen for pair in rows] + [pair.rejected for pair in rows]


def begin(learned, talk, base, rows):
    """The rows as they are learned, with the likelihoods of the base as their reference."""
    with torch.no_grad():
        return learned.prepare(logprobs_of(loading.load_pretrained(base)), learned.encode_rows(talk, rows)[0])


def step(learned, model, rows, packed=False, cut=1):
    """The mean loss of a step in forward passes of so many rows, its gradient left in the model."""
    total = 0.0
    with packing.packed_attention(model) if packed else torch.enable_grad():
        with torch.no_grad():
            context = learned.step_context(logprobs_of(model, packed), rows)
        for start in range(0, len(rows), cut):
            part = learned.loss(logprobs_of(model, packed), rows[start : start + cut], context) / learned.normaliser(
                rows
            )
            part.backward()
            total += part.item()
    return total


def gradient(model):
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


def pad_rows(texts):
    """The batch of TRL's collators, of our ids and labels."""
    ids, labels = ([torch.tensor(text[name]) for text in texts] for name in ("input_ids", "labels"))
    labels = pad_sequence(labels, batch_first=True, padding_value=IGNORE_INDEX)
    return {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(each) for each in ids], batch_first=True),
        "completion_mask": (labels != IGNORE_INDEX).long(),
        "labels": labels,
    }
