"""Conversation to tokens: the one owner of the prompt, of the label mask and of where a reply ends.

Evaluation and serving ask with `prompt`, and what training learns from, `features`, is held to it: the ids after which
a model answers are the ids after which it was taught to answer. Built on tokenizers and jinja2 alone: no torch.

A model.onnx, open in ONNX Runtime on the CPU, whichever graph it holds.
"""

import json
import shutil
import sys
from pathlib import Path

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)


def copy_tokenizer(source: Path, out: Path, template: str) -> None:
    """Put the tokenizer of `source`, byte for byte, and the template into `out`."""
    for name in FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    settings = json.loads((out / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings.pop("chat_template", None)
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)
    (out / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
    (out / "chat_template.jinja").write_text(template, encoding="utf-8")


def context_length(folder: Path) -> int:
    """How many tokens the model can see at once; a model without learned positions may name no end."""
    return config_number(folder, "max_position_embeddings", "n_positions")


def attention_heads(folder: Path) -> int:
    """How many attention heads each layer has."""
    return config_number(folder, "num_attention_heads", "n_head")


def config_number(folder: Path, *names: str) -> int:
    """The number that config.json has under one of the names; sys.maxsize where it has none."""
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; it belongs beside model.onnx")
    config = json.loads(path.read_text(encoding="utf-8"))
    return int(next((config[name] for name in names if name in config), sys.maxsize))
