"""Bases of other families, and rows to learn, for the tests of loading and of LoRA."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
)

from refrain.chat import encoding
from refrain.models.pytorch import loading


@pytest.fixture(scope="session")
def lessons(talk, rows):
    return [dict(encoding.encode_conversation(talk, row["messages"])) for row in rows]


@pytest.fixture(scope="session")
def tied(base, tmp_path_factory):
    """The base with one matrix for the table of tokens and the head."""
    folder = tmp_path_factory.mktemp("tied")
    model = loading.load_pretrained(base)
    settings = model.config.to_dict() | {"tie_word_embeddings": True, "initializer_range": 0.1}
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(LlamaConfig(**settings)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory):
    """Weights the other way round, in Conv1D, no multiple of 64 wide, with a tied head."""
    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(2)
    shape = GPT2Config(vocab_size=320, n_embd=48, n_layer=2, n_head=2, n_positions=256, initializer_range=0.2,
                       resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)  # fmt: skip
    AutoModelForCausalLM.from_config(shape).save_pretrained(folder)
    return folder
