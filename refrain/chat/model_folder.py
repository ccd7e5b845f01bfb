"""A model folder: its tokenizer files, and the numbers that its config.json has under one name or another."""

import json
import shutil
import sys
from pathlib import Path

from tokenizers import Tokenizer

from refrain.chat import special_tokens

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)

CONTEXT_NAMES = (  # what families call the number of tokens that fit, the commonest first
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
    "n_ctx",
)


def copy_tokenizer(source: Path, out: Path, template: str) -> None:
    """Put the tokenizer of `source`, byte for byte, and the template into `out`."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    settings = special_tokens.read_settings(out)
    settings.pop("chat_template", None)
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)
    (out / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
    (out / "chat_template.jinja").write_text(template, encoding="utf-8")
    copy_stop_ids(source, out)


def copy_stop_ids(source: Path, out: Path) -> None:
    """Let generation stop in `out` where it stops in `source`, unless `out` says where by itself."""
    stop_ids, _ = special_tokens.read_stop_ids(source)
    if stop_ids and special_tokens.read_stop_ids(out)[0] != stop_ids and not (out / "generation_config.json").is_file():
        text = json.dumps({"eos_token_id": sorted(stop_ids)}, indent=2)
        (out / "generation_config.json").write_text(text + "\n", encoding="utf-8")


def read_context_length(folder: Path) -> int:
    """How many tokens the model can see at once; a model without learned positions may name no end."""
    return read_config_number(folder, *CONTEXT_NAMES)


def require_rows(folder: Path, tokenizer: Tokenizer, template: str) -> None:
    """ValueError for a control token that a template writes and the model's table has no vector for."""
    rows = read_config_number(folder, "vocab_size") if (folder / "config.json").is_file() else sys.maxsize
    for number, token in tokenizer.get_added_tokens_decoder().items():
        if number >= rows and token.content in template:
            raise ValueError(f"{folder}: the chat template writes {token.content!r}, whose id {number} is beyond the "
                             f"{rows} rows of the model's table; choose another template")  # fmt: skip


def read_attention_heads(folder: Path) -> int:
    """How many attention heads each layer has."""
    return read_config_number(folder, "num_attention_heads", "n_head")


def read_config_number(folder: Path, *names: str) -> int:
    """The number that config.json has under one of the names; sys.maxsize where it has none."""
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; it belongs beside model.onnx")
    config = json.loads(path.read_text(encoding="utf-8"))
    return next((config[name] for name in names if isinstance(config.get(name), int)), sys.maxsize)
