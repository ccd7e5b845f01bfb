"""A tokenizer and its chat template in the words of a GGUF file."""

import json
import re
from typing import Any

import gguf
from gguf import TokenType

from refrain.chat.encoding import ChatTokenizer
from refrain.exporters.architectures import llama_cpp_tokenizers

NO_MERGE = "none none"  # of tokens that are no bytes, so that it applies to nothing: a list in GGUF is never empty
BLANK_IN_MERGE = "\u0120"  # for a blank within a token: blanks part the two tokens of a merge
BYTE_TOKEN = "<0x%02X>"
CLOCK = re.compile(r"\b(strftime_now|date_string|datetime) is defined")  # what llama.cpp gives to templates
UNSCORED = -1e9  # of tokens that no merge makes


def read_tokenizer_json(tokenizer: ChatTokenizer) -> dict[str, Any]:
    """tokenizer.json as it was loaded, with the control tokens that only other files call so."""
    content: dict[str, Any] = json.loads(tokenizer.tokenizer.to_str())
    return content


def describe_vocabulary(writer: gguf.GGUFWriter, tokenizer: ChatTokenizer, rows: int) -> None:
    """Tokens, merges or scores, control tokens and the template; `rows` are those of the embedding, maybe more."""
    settings = read_tokenizer_json(tokenizer)
    tokens, types = list_tokens(settings, rows)
    if llama_cpp_tokenizers.is_sentencepiece(settings):
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_add_space_prefix(llama_cpp_tokenizers.adds_blank(settings))
        writer.add_token_scores(score_tokens(settings, tokens))
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(llama_cpp_tokenizers.name_pre_tokenizer(settings))
        writer.add_token_merges([join_merge(*merge) for merge in list_merges(settings)] or [NO_MERGE])
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    describe_control_tokens(writer, tokenizer, types)
    writer.add_chat_template(stop_clock(tokenizer.template))


def stop_clock(template: str) -> str:
    """The template as it was trained, without a clock: llama.cpp has one, and would write today's date."""
    return CLOCK.sub("false", template)


def list_tokens(settings: dict[str, Any], rows: int) -> tuple[list[str], list[TokenType]]:
    """The token of each row and what it is; rows without one are filled."""
    tokens, types = [f"[PAD{i}]" for i in range(rows)], [TokenType.UNUSED] * rows
    model = settings["model"]
    byte_tokens = {BYTE_TOKEN % byte for byte in range(256)} if model.get("byte_fallback") else set()
    for text, i in model["vocab"].items():
        if i < rows:
            tokens[i], types[i] = text, TokenType.BYTE if text in byte_tokens else TokenType.NORMAL
    for added in settings["added_tokens"]:
        if (i := added["id"]) < rows:  # one beyond the table cannot be said or read
            tokens[i], types[i] = added["content"], TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
            if added["content"] == model.get("unk_token"):
                types[i] = TokenType.UNKNOWN
    return tokens, types


def list_merges(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """Pairs of tokens, first the one that is merged first; older files write them as one text."""
    pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in settings["model"]["merges"])
    return [(left, right) for left, right in pairs]


def join_merge(left: str, right: str) -> str:
    return " ".join(part.replace(" ", BLANK_IN_MERGE) for part in (left, right))


def score_tokens(settings: dict[str, Any], tokens: list[str]) -> list[float]:
    """A score for each token, by which llama.cpp merges first what the merges name first."""
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(list_merges(settings)):
        ranks.setdefault(left + right, rank)
    return [-float(ranks[token]) if token in ranks else UNSCORED for token in tokens]


def describe_control_tokens(writer: gguf.GGUFWriter, tokenizer: ChatTokenizer, types: list[TokenType]) -> None:
    """What begins and ends a text: always named, for llama.cpp takes id 11 for either where nothing is."""
    ids, names = tokenizer.index.special_ids, tokenizer.special_tokens
    control = [i for i, kind in enumerate(types) if kind == TokenType.CONTROL]
    stops = list_stops(tokenizer) or control[:1]
    writer.add_bos_token_id(ids.get(names.get("bos_token", ""), control[0]))
    writer.add_eos_token_id(stops[0])
    for add, token in zip((writer.add_eot_token_id, writer.add_eom_token_id), stops[1:], strict=False):
        add(token)
    for role, add in (("pad_token", writer.add_pad_token_id), ("unk_token", writer.add_unk_token_id)):
        token = tokenizer.tokenizer.token_to_id(names.get(role, ""))
        if token is not None and token < len(types):
            add(token)
    writer.add_add_bos_token(False)  # where there is one, the template writes it
    writer.add_add_eos_token(False)


def list_stops(tokenizer: ChatTokenizer) -> list[int]:
    """The ids that end a reply, first the one that the template writes."""
    ends = [i for text, i in tokenizer.index.special_ids.items() if tokenizer.end_marker.startswith(text)]
    return list(dict.fromkeys([*ends, *sorted(tokenizer.stop_ids)]))
