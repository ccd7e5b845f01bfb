"""Two shapes of language model with random weights, as Hugging Face folders: speed does not ask what a model knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import GPT2Config, LlamaConfig, PretrainedConfig, PreTrainedTokenizerFast

SEED = 0
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
CONTEXT = 8192
NO_ENDS = {"bos_token_id": None, "eos_token_id": None}  # so that every contender decodes as many tokens as it is asked


def make_source(name: str, folder: Path) -> Path:
    """folder/name/source: config, fp32 weights drawn from SEED, and the smallest tokenizer that builders accept."""
    out = folder / name / "source"
    if not out.is_dir():
        import torch
        from transformers import AutoModelForCausalLM

        torch.manual_seed(SEED)
        unfinished = out.with_suffix(".unfinished")
        AutoModelForCausalLM.from_config(SHAPES[name]()).save_pretrained(unfinished)
        byte_tokenizer().save_pretrained(unfinished)
        unfinished.rename(out)
    return out


def smollm2_135m() -> LlamaConfig:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=CONTEXT,
        rope_theta=100000.0,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        **NO_ENDS,
    )


def distilgpt2() -> GPT2Config:
    from transformers import GPT2Config

    return GPT2Config(vocab_size=50257, n_embd=768, n_layer=6, n_head=12, n_positions=1024, **NO_ENDS)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One id for each byte: prompts come as ids, and nothing is ever made text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, chat_template=TEMPLATE)


SHAPES: dict[str, Callable[[], PretrainedConfig]] = {"smollm2-135m": smollm2_135m, "distilgpt2": distilgpt2}
