"""A real, tiny, random ONNX model, exported by optimum: byte-level tokenizer, ChatML template."""

from functools import cache
from pathlib import Path

import torch
from optimum.exporters.onnx import main_export
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CONTEXT = 256
HEAD_DIM = 16  # hidden / heads is 8: whoever computes it instead of reading it fails
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer() -> Tokenizer:
    """One id for each byte and each special token, so every emoji and accent is cut into several ids."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(name, normalized=False) for name in SPECIAL])
    return raw


@cache
def build(folder: Path) -> Path:
    """folder/onnx, ready for runtime.Session and chat.load; folder/torch is what it was exported from."""
    source, out = folder / "torch", folder / "onnx"
    raw = tokenizer()
    PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=TEMPLATE
    ).save_pretrained(source)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=raw.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=HEAD_DIM,
        max_position_embeddings=CONTEXT,
        initializer_range=0.2,  # at the usual 0.02 a random model repeats itself whatever it reads
        bos_token_id=None,
        eos_token_id=raw.token_to_id("<|im_end|>"),
    )
    model = LlamaForCausalLM(shape).eval()
    model.lm_head.weight.data[-len(SPECIAL) :] = 0  # never the likeliest: no greedy reply ends by itself
    model.save_pretrained(source)
    task = "text-generation-with-past"
    main_export(str(source), out, task=task, library_name="transformers", do_validation=False)
    return out
