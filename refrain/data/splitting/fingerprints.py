"""What a row says, as one number: equal for rows that ask the same, or say the same; and the draw of a prompt."""

import json
from functools import cache
from hashlib import blake2b, sha256
from json.encoder import encode_basestring_ascii as quote_ascii
from typing import NamedTuple

import msgspec
import numpy as np

from refrain.chat.records import Row, whole_text
from refrain.data.splitting.ragged import Array

quote_visible = msgspec.json.Encoder().encode


class Fingerprints(NamedTuple):
    """Of each row a number of 64 bits."""

    prompt: Array  # all before the last reply, without differences of case, width and white space
    content: Array  # the prompt and the replies
    group: Array  # 0: none
    draw: Array  # decides on the split: of the group, or else of the prompt


def fingerprint_rows(
    rows: list[Row], groups: list[str | None], folded_prompts: list[list[str]], seed: int
) -> Fingerprints:
    """The numbers of these rows, of whose prompts each turn is given without those differences."""
    opening = f"{seed} ".encode()
    prompts, draws, contents = [], [], []
    for row, group, texts in zip(rows, groups, folded_prompts, strict=True):
        prompt = write_prompt(row, texts)
        prompt_digest = sha256(opening + prompt).digest()
        prompts.append(prompt_digest[8:16])
        draws.append(prompt_digest[:8] if group is None else sha256(opening + json.dumps(group).encode()).digest()[:8])
        contents.append(blake2b(prompt + write_rest(row), digest_size=8).digest())
    group_numbers = [0 if group is None else hash_text(group) or 1 for group in groups]
    return Fingerprints(
        np.frombuffer(b"".join(prompts), "<u8"),
        np.frombuffer(b"".join(contents), "<u8"),
        np.array(group_numbers, np.uint64),
        np.frombuffer(b"".join(draws), ">u8").astype(np.uint64),
    )


def write_prompt(row: Row, texts: list[str]) -> bytes:
    """The roles of a prompt with these texts, as `json.dumps` writes them."""
    turns = [
        b"[%b, %b]" % (quote_role(turn["role"]), quote(text))
        for turn, text in zip(row["messages"], texts, strict=False)
    ]
    return b"[%b]" % b", ".join(turns)


def quote(text: str) -> bytes:
    """A text as JSON has it in ASCII; `quote_visible` writes the same where there is nothing but ASCII, without DEL."""
    return quote_visible(text) if text.isascii() and "\x7f" not in text else quote_ascii(text).encode()


quote_role = cache(quote)


def write_rest(row: Row) -> bytes:
    """What a row says behind its prompt, and which of its replies are context alone; no text holds a NUL."""
    *prompt, reply = row["messages"]
    parts = ["", whole_text(reply), row.get("rejected", "")]
    parts += [str(nth) for nth, turn in enumerate(prompt) if "train" in turn]
    if "tools" in row:
        parts.append(json.dumps(row["tools"]))
    return "\0".join(parts).encode("utf-8", "surrogatepass")


def hash_text(text: str) -> int:
    """A number of 64 bits for a text."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
