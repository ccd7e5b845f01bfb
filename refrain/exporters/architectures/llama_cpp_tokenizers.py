"""llama.cpp's names for the way in which a tokenizer cuts text before it merges.

A name is told by what tokenizer.json says of its pre-tokenizer, not by a list of known vocabularies: a tokenizer that
was trained here, or that got a token more, is in none.
"""

from typing import Any

from tokenizers import Tokenizer

WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {  # of Split: with merges ignored for words of the vocabulary, and without
    WORDS: ("llama-bpe", "dbrx"),
    WORDS.replace(r"\p{N}{1,3}", r"\p{N}"): (None, "qwen2"),
}
NORMALIZERS = (None, "NFC")  # llama.cpp has none: text that is not NFC already gets other ids there
BLANK = "▁"


def require_supported(tokenizer: Tokenizer, settings: dict[str, Any]) -> None:
    """ValueError, naming the part of tokenizer.json, for a tokenizer that llama.cpp cannot be told of."""
    if is_sentencepiece(settings):
        adds_blank(settings)
    else:
        name_pre_tokenizer(settings)
    if not any(token.special for token in tokenizer.get_added_tokens_decoder().values()):
        raise ValueError("tokenizer.json: it has no control token, and GGUF wants one that ends a text")


def is_sentencepiece(settings: dict[str, Any]) -> bool:
    """Whether it is BPE on characters with bytes for those it does not know, as sentencepiece makes it."""
    model = settings["model"]
    return bool(model["type"] == "BPE" and model.get("byte_fallback"))


def adds_blank(settings: dict[str, Any]) -> bool:
    """Whether a blank is put before a text, of a sentencepiece tokenizer; ValueError where text is cut otherwise."""
    normalizers, pre = list_steps(settings["normalizer"], "normalizers"), settings["pre_tokenizer"] or {}
    kinds = [step["type"] for step in normalizers]
    replaces = [step for step in normalizers if step["type"] == "Replace"]
    if pre.get("type") == "Metaspace" and not kinds and not pre.get("split", True):
        return bool(pre["prepend_scheme"] == "always")  # first: a text begins with a control token of the template
    is_plain = all(step["pattern"] == {"String": " "} and step["content"] == BLANK for step in replaces)
    cuts_nothing = not pre or (pre["type"], pre.get("pattern")) == ("Split", {"String": " "})
    if kinds not in (["Replace"], ["Prepend", "Replace"]) or not is_plain or not cuts_nothing:
        raise ValueError("tokenizer.json: llama.cpp's sentencepiece tokenizer has no normalizer of "
                         f"{', '.join(kinds) or 'none'} with pre-tokenizer {pre.get('type')}")  # fmt: skip
    return bool(kinds[0] == "Prepend")


def name_pre_tokenizer(settings: dict[str, Any]) -> str:
    """llama.cpp's name of a byte-level tokenizer's way to cut text; ValueError where it has none."""
    model, normalizer = settings["model"], settings["normalizer"]
    if model["type"] != "BPE" or (normalizer and normalizer["type"]) not in NORMALIZERS:
        raise ValueError("tokenizer.json: GGUF is written for BPE without a normalizer or with NFC, not for "
                         f"{model['type']} with {normalizer and normalizer['type']}")  # fmt: skip
    steps = list_steps(settings["pre_tokenizer"], "pretokenizers")
    kinds = [step["type"] for step in steps]
    if kinds[-1:] == ["ByteLevel"] and not steps[-1]["add_prefix_space"]:
        name = name_steps(kinds, steps, bool(model.get("ignore_merges")))
        if name is not None:
            return name
    described = ", ".join(describe_step(step) for step in steps)
    raise ValueError(f"tokenizer.json: llama.cpp has no name for its pre-tokenizer ({described or 'none'})")


def name_steps(kinds: list[str], steps: list[dict[str, Any]], ignores_merges: bool) -> str | None:
    """The name of steps that end with bytes, if there is one."""
    cuts_words = steps[-1].get("use_regex", True)
    if kinds == ["ByteLevel"] and cuts_words and not ignores_merges:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and cuts_words and steps[0]["individual_digits"] and not ignores_merges:
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not cuts_words and steps[0]["behavior"] == "Isolated":
        names = PATTERNS.get(steps[0]["pattern"].get("Regex", ""), (None, None))
        return names[0 if ignores_merges else 1]
    return None


def list_steps(part: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """The steps of a part of tokenizer.json that may be a sequence, or null."""
    return [] if part is None else list(part.get(key, [part]))


def describe_step(step: dict[str, Any]) -> str:
    """A step by its type and what it cuts by."""
    pattern = step.get("pattern") or {}
    text = next(iter(pattern.values()), "")
    return f"{step['type']} {text}" if text else str(step["type"])
