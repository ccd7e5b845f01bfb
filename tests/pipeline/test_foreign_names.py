"""Names that people know from other libraries are answered with ours, and what they mean."""

import re
from dataclasses import fields

import pytest
from places import ROOT

from refrain.pipeline import config_keys, foreign_names, params
from refrain.pipeline.schema import Config, SourceConfig

OURS = {
    "learning_rate": "train.lr",
    "num_train_epochs": "train.epochs",
    "per_device_train_batch_size": "train.batch_size",
    "gradient_accumulation_steps": "train.micro_batch_tokens",
    "lora_r": "method.adapter.rank",
    "r": "method.adapter.rank",
    "lora_alpha": "method.adapter.alpha",
    "lora-dropout": "method.adapter.dropout",
    "target_modules": "method.adapter.layers",
    "max_seq_length": "data.max_tokens",
    "max_length": "data.max_tokens",
    "cutoff_len": "data.max_tokens",
    "sequence_len": "data.max_tokens",
    "model_name_or_path": "model.hub",
    "base_model": "model.hub",
    "dataset_name": "data.sources",
    "warmup_ratio": "train.warmup",
    "lr_scheduler_type": "train.schedule",
    "bf16": "train.precision",
    "load_in_4bit": "method.base_bits",
    "beta": "method.preference.beta",
    "val_set_size": "data.val_fraction",
    "chat_template": "template.jinja",
    "LEARNING_RATE": "train.lr",
}


def answer(override):
    return params.suggest_override([override], ROOT / "conf")


@pytest.mark.parametrize("place", ["", "train.", "+train.", "training.", "trainer.args.", "method.adapter."])
@pytest.mark.parametrize("name", OURS)
def test_a_name_of_others_is_answered_with_ours_wherever_it_is_written(name, place):
    said = answer(f"{place}{name}=1")
    meaning = next(meaning for key, meaning, _ in foreign_names.KEYS if key == OURS[name])
    key = f"{place}{name}".removeprefix("+")
    assert said == f"{key} is no key of the configuration; here it is {OURS[name]}: {meaning}"


@pytest.mark.parametrize(("override", "sentence"), {
    "output_dir=x": "nothing sets it here: outputs have fixed places, models/adapter, models/merged and models/onnx",
    "train.save_steps=1": "nothing sets it here: checkpoints are written and resumed by themselves",
    "train.learning_rat=1": "did you mean learning_rate? here it is train.lr: the highest learning rate",
    "lr=1": "did you mean train.lr or model.tiny.lr?",
    "train.rank=1": "did you mean method.adapter.rank?",
    "method.rank=1": "did you mean method.adapter.rank?",
    "train.seed=1": "did you mean seed?",
    "train.batchsize=1": "did you mean train.batch_size?",
    "train.zyx=1": "known here are lr, epochs, ",
    "train.gizmo=1": "known here are lr, epochs, ",
    "+lora={r:8}": "here it is method.adapter: null trains every weight",
}.items())  # fmt: skip
def test_what_nobody_calls_so_is_answered_with_what_is_near_or_with_what_there_is(override, sentence):
    key = re.match(r"\+?([\w.]+)", override).group(1)
    assert answer(override).startswith(f"{key} is no key of the configuration; {sentence}")


def test_in_params_yaml_and_in_a_source_the_answer_is_the_same():
    [sentence] = config_keys.schema_problems({"learning_rate": 1}, Config, "")
    assert sentence.startswith("learning_rate is no key of the configuration; here it is train.lr: ")
    [sentence] = config_keys.schema_problems({"data": {"sources": [{"path": "a", "type": "alpaca"}]}}, Config, "")
    assert sentence.startswith("data.sources[0].type is no key of the configuration; here it is data.sources[].shape: ")


def test_every_answer_names_a_key_that_exists_and_every_name_stands_once():
    known = {*config_keys.all_keys(Config, ""), *(f"data.sources[].{field.name}" for field in fields(SourceConfig))}
    assert {key for key, _, _ in foreign_names.KEYS} <= known
    names = [name for *_, names in (*foreign_names.KEYS, *foreign_names.ABSENT) for name in names.split()]
    assert sorted(names) == sorted({*names})
    assert all(name == foreign_names.plain_name(name) for name in names)
