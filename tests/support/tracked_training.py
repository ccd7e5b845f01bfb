"""Trains a tiny model without trackers, with all of them, and once more from a checkpoint; prints what came of it.

A process of its own: trackers change the environment, and finish some of their work when the process ends.
"""

import hashlib
import json
import random
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, Trainer, TrainingArguments, set_seed

from refrain.pipeline import schema
from refrain.training.callbacks import loss_curves, trackers

CALLS = []  # addresses outside of this machine that were asked for


def overhear(event, arguments):
    asked = {"socket.connect": lambda: arguments[1], "socket.getaddrinfo": lambda: arguments}.get(event, lambda: None)()
    if isinstance(asked, tuple) and asked[0] not in ("127.0.0.1", "localhost", "::1", None):
        CALLS.append(str(asked))


def train(callbacks, resume=None):
    """Three steps with an evaluation after them, a checkpoint after the second, and chance in the attention."""
    torch.manual_seed(0)
    shape = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(num_attention_heads=2, attention_dropout=0.5, **shape))
    rows = [{"input_ids": [i, 1, 2, 3], "labels": [i, 1, 2, 3]} for i in range(12)]
    args = TrainingArguments(
        "scratch", max_steps=3, per_device_train_batch_size=4, seed=1, report_to=[], logging_steps=1, save_steps=2,
        eval_strategy="steps", eval_steps=3, use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    set_seed(1)
    trainer = Trainer(model, args, train_dataset=rows, eval_dataset=rows[:4], callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=resume)
    chance = random.random(), np.random.rand(), torch.rand(1).item()  # before an evaluation that no run is open for
    trainer.evaluate()
    weights = b"".join(weight.detach().numpy().tobytes() for weight in model.parameters())
    return {
        "history": [entry for entry in trainer.state.log_history if {"loss", "eval_loss"} & entry.keys()][:4],
        "weights": hashlib.sha256(weights).hexdigest(),
        "chance": chance,
    }


def told(run):
    return [*trackers.callbacks(list(schema.TRACKERS), run), loss_curves.DVCLiveCallback(Path("loss"))]


if __name__ == "__main__":
    sys.addaudithook(overhear)
    torch.set_num_threads(1)
    plain = train([])
    first = train(told("first"))
    resumed = train(told("resumed"), "scratch/checkpoint-2")
    Path("facts.json").write_text(json.dumps({"plain": plain, "first": first, "resumed": resumed, "calls": CALLS}))
