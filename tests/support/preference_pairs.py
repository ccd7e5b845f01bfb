"""Pairs of replies to learn from."""

from functools import partial

from refrain.pipeline.schema import PreferenceConfig
from refrain.training.objectives import logprobs, preference

BETA = {"sigmoid": 0.3, "ipo": 0.5, "kto": 0.3, "orpo": 0.2}


def paired_row(name, asked, better, worse):
    turns = [dict(zip(("role", "content"), turn.split(": ", 1), strict=True)) for turn in asked]
    return {"id": name, "messages": [*turns, {"role": "assistant", "content": better}], "rejected": worse}


ROWS = [
    paired_row("plain", ["user: hello 🙂"], "hello there", "não"),
    paired_row("prefix", ["user: who?"], "the user", "the user and the assistant"),
    paired_row("turns", ["user: a?", "assistant: the user", "user: and now?"], "the assistant", "hello"),
    paired_row("system", ["system: be the assistant", "user: hello?"], "hello there 🙂", "the"),
    paired_row("silent", ["user: the user there"], "hello", ""),
]


def objective(loss):
    return preference.PreferenceObjective(PreferenceConfig(loss=loss, beta=BETA[loss]))


def asked(model, packed=False):
    return partial(logprobs.sequence_logprobs, model, packed=packed)


def sides(rows):
    return [pair.chosen for pair in rows] + [pair.rejected for pair in rows]
