"""The bytes of tokens join to the UTF-8 of the text, whatever the tokenizer is made of."""

import pytest
import tokenizers
import traced_model
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from refrain.generation.token_bytes import TokenBytes

TEXT = " né 🙂👍🏽 <b> \u2028日本 "
BYTES = {f"<0x{byte:02X}>": byte for byte in range(256)}
WORDS = ["▁", "n", "▁n", "<", "b", ">", "<b>", "▁日", "本"]


def sentencepiece(blank_first):
    """As Llama 2 has it: bytes for what is no word, a blank before the text that the decoder takes away again."""
    raw = Tokenizer(models.BPE({**BYTES, **{word: 256 + nth for nth, word in enumerate(WORDS)}},
                               [("▁", "n"), ("▁", "日")][:1], byte_fallback=True, fuse_unk=True))  # fmt: skip
    raw.normalizer = normalizers.Sequence(
        [*([normalizers.Prepend("▁")] if blank_first else []), normalizers.Replace(" ", "▁")]
    )
    strip = [decoders.Strip(" ", 1, 0)] if blank_first else []
    raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return raw


def metaspace():
    alphabet = {letter: nth for nth, letter in enumerate(sorted({*TEXT.replace(" ", "▁")}))}
    raw = Tokenizer(models.BPE(alphabet, []))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    return raw


@pytest.fixture(params=["bytes", "merges", "sentencepiece", "gemma", "metaspace"])
def raw(request, tokenizer):
    made = {"bytes": traced_model.tokenizer, "merges": lambda: tokenizer, "sentencepiece": lambda: sentencepiece(True),
            "gemma": lambda: sentencepiece(False), "metaspace": metaspace}[request.param]()  # fmt: skip
    return Tokenizer.from_str(made.to_str())


def test_they_join_to_the_text(raw):
    raw.add_tokens([AddedToken("<b>")])
    ids = raw.encode(TEXT, add_special_tokens=False).ids
    tokens = TokenBytes(raw)
    assert b"".join([tokens.find_first(ids[0]), *map(tokens.find, ids[1:])]) == raw.decode(ids).encode() != b""
    assert len(ids) > 5


def test_a_control_token_has_none(raw):
    raw.add_special_tokens(["<|end|>"])
    tokens = TokenBytes(raw)
    assert tokens.find(raw.token_to_id("<|end|>")) is None and tokens.find(10**6) is None


def test_a_decoder_of_another_kind_gives_whole_characters():
    raw = Tokenizer(models.WordLevel({"né": 0, "🙂": 1}, unk_token="né"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    assert TokenBytes(raw).find(1) == "🙂".encode()
