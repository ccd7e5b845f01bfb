"""A folder's tokenizer.json and template in the words of a GGUF file.

llama.cpp cuts text before it merges bytes by rules that it knows by name. The name is told by what tokenizer.json says
of its pre-tokenizer, not by a list of known vocabularies: a tokenizer that was trained here is in none.
"""

import json
from pathlib import Path
from typing import Any

import gguf
from gguf import TokenType

from refrain.chat import encoding
from refrain.chat.encoding import ChatTokenizer

SPLITS = {r"\p{N}{1,3}": "llama-bpe", r"\p{N}": "qwen2"}  # what a pattern does with digits, the longer one first

NO_MERGE = "none none"  # of tokens that are no bytes, so that it applies to nothing: a list in GGUF is never empty


def describe_tokenizer(writer: gguf.GGUFWriter, folder: Path, rows: int) -> None:
    """Tokens, merges, control tokens and the template; `rows` are those of the embedding, which may be more."""
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer = encoding.load_tokenizer(folder)
    tokens, types = list_tokens(content, rows)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name_pre_tokenizer(content))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in content["model"]["merges"]]
    writer.add_token_merges(merges or [NO_MERGE])
    describe_control_tokens(writer, tokenizer, [i for i, kind in enumerate(types) if kind == TokenType.CONTROL])
    writer.add_chat_template(tokenizer.template)


def list_tokens(content: dict[str, Any], rows: int) -> tuple[list[str], list[TokenType]]:
    """The token of each row and what it is; rows without one are filled."""
    tokens, types = [f"[PAD{i}]" for i in range(rows)], [TokenType.UNUSED] * rows
    for text, i in content["model"]["vocab"].items():
        tokens[i], types[i] = text, TokenType.NORMAL
    for added in content["added_tokens"]:
        if (i := added["id"]) < rows:  # one beyond the table cannot be said or read
            tokens[i], types[i] = added["content"], TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    return tokens, types


def name_pre_tokenizer(content: dict[str, Any]) -> str:
    """llama.cpp's name for the way in which text is cut; ValueError where it has none."""
    if content["model"]["type"] != "BPE" or content["model"].get("byte_fallback") or content["normalizer"] is not None:
        raise ValueError("tokenizer.json: GGUF is written for byte-level BPE without a normalizer")
    pre = content["pre_tokenizer"] or {}
    steps = pre.get("pretokenizers", [pre])
    kinds = [step.get("type") for step in steps]
    if kinds[-1:] == ["ByteLevel"] and not steps[-1]["add_prefix_space"]:
        if kinds == ["ByteLevel"]:
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"]:
            return "smollm"
        if kinds == ["Split", "ByteLevel"]:
            pattern = steps[0]["pattern"].get("Regex", "")
            for digits, name in SPLITS.items():
                if digits in pattern:
                    return name
    raise ValueError(f"tokenizer.json: llama.cpp has no name for its pre-tokenizer ({', '.join(map(str, kinds))})")


def describe_control_tokens(writer: gguf.GGUFWriter, tokenizer: ChatTokenizer, control: list[int]) -> None:
    """What begins and ends a text: always named, for llama.cpp takes id 11 for either where nothing is."""
    if not control:
        raise ValueError("tokenizer.json: it has no control token, and GGUF wants one that ends a text")
    ids, names = tokenizer.index.special_ids, tokenizer.special_tokens
    ends = [i for text, i in ids.items() if tokenizer.end_marker.startswith(text)]
    stops = list(dict.fromkeys([*ends, *sorted(tokenizer.stop_ids)])) or control[:1]
    writer.add_bos_token_id(ids.get(names.get("bos_token", ""), control[0]))
    writer.add_eos_token_id(stops[0])
    if len(stops) > 1:
        writer.add_eot_token_id(stops[1])
    if "pad_token" in names:
        writer.add_pad_token_id(ids[names["pad_token"]])
    writer.add_add_bos_token(False)  # where there is one, the template writes it
    writer.add_add_eos_token(False)
