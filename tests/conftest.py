import json
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path

import lasting_objects
import pipeline_repository
import presets
import pytest
import tokenizers
import torch
from _pytest.logging import LogCaptureHandler
from omegaconf import OmegaConf
from places import ROOT
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from refrain.chat import encoding, model_folder
from refrain.exporters.onnx import exporter
from refrain.models.pytorch import loading
from refrain.pipeline.export_schema import ExportConfig
from refrain.training import fit
from refrain.training.objectives import sft

signal.signal(signal.SIGINT, signal.default_int_handler)  # nohup and shells ignore it for what runs in background
torch.set_num_threads(1)  # on tensors as small as these a second thread only costs time
SPECIAL = ["<|bos|>", "<|im_start|>", "<|im_end|>", "<|assistant|>", "<|end|>"]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


LONGEST = (  # files by the time that they take: with these first and the short ones last, no core waits at the end
    "runs/test_reruns.py", "training/distributed/test_processes.py",  # only one of them waits for finished_pipeline
    "experiments/test_verify.py", "runs/test_kills.py", "serving/test_page.py",
    "experiments/test_compose.py", "experiments/test_sweep.py",
    "runs/test_remotes.py", "runs/test_methods.py", "workflow/test_examples.py",
    "training/distributed/test_launcher.py", "runs/test_core_install.py", "runs/test_first_hour.py",
    "workflow/test_finetuning.py", "runs/test_loop.py", "serving/selftest/test_table.py",
    "models/pretrained/test_hub.py", "training/objectives/test_preference.py", "training/callbacks/test_trackers.py",
    "runs/test_registry.py", "training/callbacks/test_checkpointing.py", "models/pytorch/test_loading.py",
    "models/pytorch/test_lora.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    places = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST)}
    long = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("heavy")}
    items.sort(key=lambda item: (places.get(item.path, len(LONGEST)), item.path not in long))


def pytest_collection_finish():
    lasting_objects.spare()


@pytest.fixture(autouse=True)
def log_handlers():
    """What a test hangs into the root logger, bound to a stderr that is gone after it, leaves with it."""
    root, ours = logging.getLogger(), logging.getLogger("refrain")
    before, levels = list(root.handlers), (root.level, ours.level)
    yield
    for handler in root.handlers[:]:
        if handler not in before and not isinstance(handler, LogCaptureHandler):
            root.removeHandler(handler)
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture(scope="session")
def tokenizer():
    """Byte-level, with merges that reach over line breaks, and with a BOS that it adds unless told not to."""
    raw = Tokenizer(tokenizers.models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[AddedToken(name, normalized=False) for name in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(["the user and the assistant:\n\n\n\nhello 🙂   \n\n\n\n there"] * 9, trainer)
    raw.post_processor = processors.TemplateProcessing("<|bos|> $A", special_tokens=[("<|bos|>", 0)])
    return raw


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A function that writes a tokenizer as the Hub would serve it, and gives its folder."""

    def save(raw: Tokenizer, **settings) -> Path:
        folder = tmp_path_factory.mktemp("saved")
        raw.save(str(folder / "tokenizer.json"))
        named = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **settings}
        (folder / "tokenizer_config.json").write_text(json.dumps(named))
        return folder

    return save


@pytest.fixture(scope="session")
def base(saved, tokenizer):
    """A whole model folder: a Llama of 100,000 random weights whose heads are wider than hidden size / heads."""
    folder = saved(tokenizer, eos_token="<|im_end|>", pad_token="<|bos|>", chat_template=CHATML)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=256,
        initializer_range=0.1,  # at the usual 0.02 a random model says the same whatever it reads
        bos_token_id=0,
        eos_token_id=2,
    )
    LlamaForCausalLM(shape).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def talk(base):
    return encoding.load_tokenizer(base)


@pytest.fixture(scope="session")
def rows():
    """Conversations of several lengths, as data/prepared holds them."""
    said = ["hello 🙂", "the user", "", "não, the assistant there", "hello the user and the assistant"]
    return [
        {
            "id": f"0-said.jsonl:{i}",
            "messages": [
                {"role": "user", "content": f"{i}? {said[i % 5]}"},
                {"role": "assistant", "content": f"{said[(i + 1) % 5]}!"},
            ],
        }
        for i in range(16)
    ]


@pytest.fixture(scope="session")
def adapter(base, talk, rows, tmp_path_factory):
    """What the train stage leaves of a LoRA fine-tune of some steps."""
    folder = tmp_path_factory.mktemp("adapter")
    model = loading.build_trainable(base, presets.lora(), 7)
    recipe = presets.train(lr=0.01, epochs=5, batch_size=4, warmup=0)
    fit.train_model(model, sft.encode_rows(talk, rows)[0], [], sft, recipe, 7, tmp_path_factory.mktemp("checkpoints"))
    loading.save_pretrained(model, folder)
    model_folder.copy_tokenizer(base, folder, talk.template)
    return folder


@pytest.fixture(scope="session")
def merged(base, adapter, talk, tmp_path_factory):
    """What the merge stage leaves."""
    folder = tmp_path_factory.mktemp("merged")
    loading.save_for_serving(loading.merge_adapter(loading.load_finetuned(base, adapter)), talk.stop_ids, folder)
    model_folder.copy_tokenizer(adapter, folder, talk.template)
    return folder


@pytest.fixture(scope="session")
def finished_pipeline(tmp_path_factory):
    """A small repository whose pipeline has run, once for all workers: to be copied, not to be changed."""
    own = tmp_path_factory.getbasetemp()
    return pipeline_repository.finished(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


@pytest.fixture(scope="session")
def settings():
    """What is exported unless a person asks for something else, with few tokens to compare."""
    default = OmegaConf.load(ROOT / "conf/export/cpu.yaml")
    few = {"prompts": 8, "steps": 16, "batch_size": 3}
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ExportConfig), default, few))


@pytest.fixture(scope="session")
def fitting(settings):
    """The same with bars for a model of random weights: its best two tokens are often as good as equal."""
    bars = {"int8": {"top1": 0.9, "kl": 0.01}, "int4": {"top1": 0.6, "kl": 1.0, "rouge": None}}
    variants = {name: replace(variant, thresholds=replace(variant.thresholds, **bars.get(name, {})))
                for name, variant in settings.variants.items()}  # fmt: skip
    return replace(settings, variants=variants)


@pytest.fixture(scope="session")
def onnx(merged, settings, tmp_path_factory):
    """What the export stage leaves, without the best and the manifest."""
    folder = tmp_path_factory.mktemp("onnx")
    exporter.export_variants(merged, folder, settings)
    return folder
