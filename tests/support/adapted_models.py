"""Methods of every kind, and short trainings of the models that they make."""

from dataclasses import replace

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    Trainer,
    TrainingArguments,
)

from refrain.chat import encoding
from refrain.pipeline.schema import AdapterConfig, MethodConfig

PLAIN = AdapterConfig(rank=4, alpha=8, dropout=0.0, layers=None, init="zero", dora=False, rslora=False)
LORA = MethodConfig(name="", weights="pretrained", base_bits=None, adapter=PLAIN, preference=None, init_adapter=None)
FULL = replace(LORA, adapter=None)


def adapted(**changes):
    """LoRA with other values of its adapter."""
    return replace(LORA, adapter=replace(PLAIN, **changes))


METHODS = {
    "full": FULL,
    "lora": adapted(dropout=0.1),
    "qlora": replace(adapted(dropout=0.1), base_bits=4),
    "dora": adapted(dora=True),
    "qdora": replace(adapted(dora=True), base_bits=4),
    "rslora": adapted(rslora=True),
    "pissa": adapted(init="pissa"),
    "all of it": adapted(init="pissa", dora=True, rslora=True, dropout=0.1),
    "some layers": adapted(layers=["q_proj", "mlp.up_proj"]),
    "table and head": adapted(layers=["embed_tokens", "lm_head"], dora=True),
}
ASKED = [[1, 60, 200, 7], [9, 9, 120]]


def pad_rows(rows):
    """A batch as any trainer takes it."""
    ids, labels = ([torch.tensor(row[name]) for row in rows] for name in ("input_ids", "labels"))
    return {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=encoding.IGNORE_INDEX),
    }


def taught(model, rows, folder, steps=6, resume=None, lr=1e-2):
    """The model after some steps of six, with a checkpoint and an evaluation after each three."""
    settings = TrainingArguments(
        str(folder),
        max_steps=6,
        per_device_train_batch_size=4,
        learning_rate=lr,
        save_strategy="steps",
        save_steps=3,
        eval_strategy="steps",
        eval_steps=1,
        seed=7,
        use_cpu=True,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(model, settings, pad_rows, train_dataset=rows, eval_dataset=rows[:2])
    trainer.train(resume_from_checkpoint=resume and str(resume))
    return model


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}
