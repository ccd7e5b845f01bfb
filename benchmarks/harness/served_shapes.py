"""Shapes of model to be served: random weights that say letters alone, a tokenizer of whole words, a template of chats.

So that every token is text at once, and no reply ends before it is as long as was asked.
"""

from __future__ import annotations

import json
from itertools import islice, product
from pathlib import Path
from string import ascii_lowercase as letters
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import model_shapes

if TYPE_CHECKING:
    from transformers import LlamaConfig

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def make_source(name: str, folder: Path) -> Path:
    """folder/name/served: config, weights drawn from a seed, tokenizer and template."""
    out = folder / name / "served"
    if not out.is_dir():
        import torch
        from transformers import AutoModelForCausalLM

        torch.manual_seed(model_shapes.SEED)
        model = AutoModelForCausalLM.from_config(SHAPES[name]())
        tokens = list_tokens(model.config.vocab_size)
        with torch.no_grad():  # a row of zeros has logit 0, far below the likeliest
            model.get_input_embeddings().weight[[i for i, token in enumerate(tokens) if not is_text(token)]] = 0
        unfinished = out.with_suffix(".unfinished")
        model.save_pretrained(unfinished)
        save_tokenizer(unfinished, tokens)
        unfinished.rename(out)
    return out


def tiny() -> LlamaConfig:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=4096,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        **model_shapes.NO_ENDS,
    )


SHAPES = {"tiny": tiny, "smollm2-135m": model_shapes.smollm2_135m}


def list_tokens(size: int) -> list[str]:
    """Control tokens, bytes, then every group of two letters, three, four, until there are enough."""
    from tokenizers import pre_tokenizers

    alphabet = [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    return [*alphabet, *islice(("".join(parts) for n in (2, 3, 4) for parts in product(letters, repeat=n)),
                               size - len(alphabet))]  # fmt: skip


def is_text(token: str) -> bool:
    return token.isascii() and token.isalpha()


def save_tokenizer(folder: Path, tokens: list[str]) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    merges = [(token[:-1], token[-1]) for token in tokens if len(token) > 1 and is_text(token)]
    raw = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(token, special=True) for token in CONTROL])
    raw.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(TEMPLATE)


def draw_text(rng: np.random.Generator, tokens: int) -> str:
    """Words of which each is three tokens: a blank, two letters, two letters."""
    words = rng.integers(len(letters), size=(tokens // 3, 4))
    return "".join(" " + "".join(letters[i] for i in word) for word in words)
