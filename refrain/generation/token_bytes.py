"""The bytes that a token stands for: joined they are the UTF-8 of the text, though a character may be cut in two."""

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer

BLANK = "\N{LOWER ONE EIGHTH BLOCK}"  # what sentencepiece writes for a blank


class TokenBytes:
    """The bytes of the tokens of a tokenizer: byte-level, with byte fallback, or with whole characters alone."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoders = list(list_decoders(json.loads(tokenizer.to_str()).get("decoder")))

    def find(self, token: int) -> bytes | None:
        """The bytes of a token; None for a control token, which stands for no text, and for an id without a token."""
        if token in self._added:
            is_special, content = self._added[token]
            return None if is_special else content.encode()
        text: str | None = self._tokenizer.id_to_token(token)
        if text is None:
            return None
        kinds = {decoder["type"] for decoder in self._decoders}
        if "ByteLevel" in kinds and all(letter in BYTE_LETTERS for letter in text):
            return bytes(BYTE_LETTERS[letter] for letter in text)
        if "ByteFallback" in kinds and len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            return bytes([int(text[3:5], 16)])
        if {"Metaspace", "ByteFallback", "Replace"} & kinds:
            return text.replace(BLANK, " ").encode()
        return str(self._tokenizer.decode([token])).encode()

    def name(self, token: int) -> str:
        """A token for people: its text, with a sign for each part of a character; the name of a control token."""
        found = self.find(token)
        return str(self._tokenizer.id_to_token(token) or "") if found is None else found.decode("utf-8", "replace")

    def find_first(self, token: int) -> bytes | None:
        """The bytes of the token that a text begins with: its decoder may take a blank away."""
        found = self.find(token)
        return found.removeprefix(b" ") if found and self._strips_first_blank else found

    @cached_property
    def _strips_first_blank(self) -> bool:
        """Whether the decoder takes the blank away that a text begins with."""
        return any(
            (each["type"] == "Strip" and each.get("content") == " " and each.get("start"))
            or (each["type"] == "Metaspace" and each.get("prepend_scheme", "always") != "never")
            for each in self._decoders
        )

    @cached_property
    def _added(self) -> dict[int, tuple[bool, str]]:
        decoder = self._tokenizer.get_added_tokens_decoder()
        return {number: (token.special, token.content) for number, token in decoder.items()}


def list_decoders(decoder: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The parts of a decoder, in order."""
    if decoder is not None:
        yield decoder
        for part in decoder.get("decoders", []):
            yield from list_decoders(part)


def byte_letters() -> dict[str, int]:
    """The byte for each letter of a byte-level vocabulary: those that can be printed, then the others from 256 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + nth): byte for nth, byte in enumerate(others)}


BYTE_LETTERS = byte_letters()
