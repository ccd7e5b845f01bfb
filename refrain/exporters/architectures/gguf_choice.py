"""Whether a model and its tokenizer can be written as GGUF, by config.json, headers of tensors and tokenizer.json."""

import json
from pathlib import Path

from refrain.chat import special_tokens
from refrain.exporters.architectures import llama_cpp, llama_cpp_tokenizers


def require_writable(model: Path, folder: Path) -> llama_cpp.Graph:
    """llama.cpp's graph for a model whose tokenizer lies in `folder`; ValueError naming what it cannot be told."""
    llama_cpp.require_supported(model)
    tokenizer = special_tokens.read_tokenizer(folder)
    llama_cpp_tokenizers.require_supported(tokenizer, json.loads(tokenizer.to_str()))
    return llama_cpp.find_graph(model)


def find_gguf_obstacle(model: Path, folder: Path) -> str | None:
    """Why a model cannot be written as GGUF, in a sentence; None where it can."""
    try:
        require_writable(model, folder)
    except ValueError as error:
        return str(error)
    return None
