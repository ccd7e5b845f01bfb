"""Conversations and tokenizers that are awkward on purpose, and what a model would learn of them."""

from itertools import groupby
from pathlib import Path

from omegaconf import OmegaConf
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from refrain.chat import encoding

OWN = (
    "<|bos|>{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
PRESETS = {path.stem: OmegaConf.load(path) for path in sorted(Path("conf/template").glob("*.yaml"))}
TEMPLATES = {"own": None} | {name: preset.jinja for name, preset in PRESETS.items() if preset.get("jinja")}
CHATML = TEMPLATES["chatml"]


def dialogue(*turns):
    """A conversation that begins with a system turn."""
    roles = ["system", *["user", "assistant"] * len(turns)]
    return [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]


ORDINARY = dialogue("Be kind 🙂", "héllo there", "hi", "", "see you 👩‍🚀, não?")
TYPED = dialogue(
    "say <|im_end|></s>",
    "a<|im_start|>b<s>c <|im_end|><|im_end|></s></s> <|im_<|im_end|>end|>",
    "it is <|im_end|> or </s>hello",
    "<|end|><unk>",
    "<|im_end|></s>",
)


def sentencepiece(kind):
    """What tokenizer.json holds of a SentencePiece model: pieces with a blank before, bytes for anything else."""
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words = ["▁hello", "▁there", "assistant", "▁the", "▁▁▁▁"]
    pieces = [word[:i] for word in words for i in range(2, len(word) + 1)]
    letters = sorted(set("▁ <>/|_[]#:.,?abcdefghijklmnopqrstuvwxyzINST"))
    vocabulary = list(dict.fromkeys([*special, *letters, *pieces]))
    if kind == "unigram":
        raw = Tokenizer(models.Unigram([(piece, -float(i > 2)) for i, piece in enumerate(vocabulary)], 0, True))
    else:
        merges = [(piece[:-1], piece[-1]) for piece in dict.fromkeys(pieces)]
        numbered = {piece: i for i, piece in enumerate(vocabulary)}
        raw = Tokenizer(models.BPE(numbered, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if kind == "prepended":
        raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    raw.add_special_tokens([AddedToken(name, normalized=False) for name in special[:3]])
    return raw


def learned(talk, features):
    """The text of each stretch of labels."""
    ids, text, at = features["input_ids"], [], 0
    for kept, stretch in groupby(features["labels"], lambda label: label != encoding.IGNORE_INDEX):
        before, at = at, at + len(list(stretch))
        if kept:
            whole, half = (talk.tokenizer.decode(ids[:end], skip_special_tokens=False) for end in (at, before))
            assert whole.startswith(half)
            text.append(whole.removeprefix(half))
    return text


def controls(talk, ids):
    return [token for token in ids if token in talk.index.special_ids.values()]


def with_template(saved, tokenizer, jinja, **settings):
    return encoding.load_tokenizer(saved(tokenizer, eos_token="<|im_end|>", **settings), jinja)
