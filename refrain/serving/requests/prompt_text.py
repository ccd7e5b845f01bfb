"""The prompt of an answer as text again, with what the template and the tokenizer put around what people wrote."""

from collections.abc import Sequence
from typing import Any

from tokenizers.decoders import DecodeStream

from refrain.chat.encoding import ChatTokenizer


def prompt_parts(tokenizer: ChatTokenizer, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Runs of text, and each control token by itself: what only looks like one stands within a text."""
    control = {token: text for text, token in tokenizer.index.special_ids.items()}
    parts: list[dict[str, Any]] = []
    decoder = DecodeStream(skip_special_tokens=False)
    for token in ids:
        piece = decoder.step(tokenizer.tokenizer, token) or ""
        if token in control:
            parts.append({"text": control[token], "id": token, "is_control": True})
        elif parts and not parts[-1]["is_control"]:
            parts[-1]["text"] += piece
        elif piece:
            parts.append({"text": piece, "id": None, "is_control": False})
    return parts
