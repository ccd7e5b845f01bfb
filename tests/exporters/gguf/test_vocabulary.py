"""llama.cpp reads texts as the tokenizer does, of whichever kind it is."""

import json

import awkward_templates
import gguf_models
import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from refrain.chat import encoding
from refrain.exporters.architectures import llama_cpp_tokenizers
from refrain.exporters.gguf import llama_client, llama_server, proof, questions, vocabulary, writer

CONTROL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
CORPUS = ["the user and the assistant said: hello there, 1234 times 56\n\n", "naïve Größe don't  I'm won't 🙂 中文"] * 9
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def control_tokens():
    return [AddedToken(name, special=True, normalized=False) for name in CONTROL]


def byte_level(*steps):
    """Trained here, in the way that a published family cuts text."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(False, use_regex=len(steps) == 0)])
    if steps and isinstance(steps[0], pre_tokenizers.Digits):
        raw.pre_tokenizer = pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(False)])
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    raw.train_from_iterator(CORPUS, trainer)
    raw.add_special_tokens(control_tokens())
    return raw


def sentencepiece(*normal):
    """Characters and bytes, with every pair of tokens that makes a third among the merges, as conversions have it."""
    raw = Tokenizer(models.BPE())
    raw.normalizer = normalizers.Sequence([*normal, normalizers.Replace(" ", "▁")])
    raw.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=120, show_progress=False))
    pieces = [each for each, _ in sorted(raw.get_vocab().items(), key=lambda item: item[1])]
    vocab = {each: number for number, each in enumerate([*CONTROL[:3], *BYTES, *pieces])}
    merges = [(piece[:at], piece[at:]) for piece in pieces for at in range(1, len(piece))
              if piece[:at] in vocab and piece[at:] in vocab]  # fmt: skip
    result = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    result.normalizer = raw.normalizer if normal else normalizers.Replace(" ", "▁")
    result.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    result.add_special_tokens(control_tokens())
    return result


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


GEMMA = (  # it begins with a token, names a role of its own, takes blanks off and ends with a line of its own
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>model\n{% endif %}\n"
)
WORDS = llama_cpp_tokenizers.WORDS
TOKENIZERS = {
    "GPT-2": byte_level,
    "SmolLM": lambda: byte_level(pre_tokenizers.Digits(individual_digits=True)),
    "Llama 3": lambda: byte_level(split(WORDS)),
    "Qwen 2": lambda: byte_level(split(WORDS.replace(r"\p{N}{1,3}", r"\p{N}"))),
    "Gemma": sentencepiece,
    "Llama 2": lambda: sentencepiece(normalizers.Prepend("▁")),
}


@pytest.fixture
def compare_ids(tmp_path):
    """A function that gives what llama.cpp makes otherwise of odd texts, with a tokenizer."""

    def compare(raw, template=GEMMA):
        gguf_models.make_folder(tmp_path, gguf_models.CONFIGS["llama"], rows=raw.get_vocab_size())
        gguf_models.save_tokenizer(tmp_path, chat_template=template, bos_token="<s>")
        raw.save(str(tmp_path / "tokenizer.json"))
        writer.write_file(tmp_path, tmp_path / "model.gguf", "f32")
        tokenizer = encoding.load_tokenizer(tmp_path)
        asked = [[{"role": "user", "content": text}] for text in (*questions.ODD_TEXTS, *CORPUS[:2])]
        with llama_server.run_server(tmp_path / "model.gguf", "--slots", "1", "--threads", "1") as url:
            assert proof.check_ends(llama_client.read_properties(url), tokenizer) == ""
            return proof.compare_prompts(url, list(questions.list_prompts(tokenizer, asked)))

    return compare


@pytest.mark.heavy
@pytest.mark.parametrize("name", TOKENIZERS)
def test_llama_cpp_makes_the_same_ids_of_odd_texts(name, compare_ids):
    assert compare_ids(TOKENIZERS[name]()) == ([], 0)


@pytest.mark.heavy
def test_a_date_in_the_template_is_the_one_that_was_trained(compare_ids):
    assert compare_ids(byte_level(), awkward_templates.LLAMA31) == ([], 0)


@pytest.mark.heavy
def test_another_name_for_the_way_to_cut_shows(compare_ids, monkeypatch):
    monkeypatch.setattr(llama_cpp_tokenizers, "name_steps", lambda kinds, steps, ignores: "smollm")
    others, _ = compare_ids(TOKENIZERS["GPT-2"]())
    assert "1 12 123 1234567890 3.14159 1,000,000 ٣٤٥ ½ ²" in others


def test_text_is_asked_in_the_normal_form_that_only_the_tokenizer_makes(tmp_path):
    raw = byte_level()
    raw.normalizer = normalizers.NFC()
    gguf_models.save_tokenizer(tmp_path)
    raw.save(str(tmp_path / "tokenizer.json"))
    (prompt,) = questions.list_prompts(encoding.load_tokenizer(tmp_path), [[{"role": "user", "content": "e\u0301"}]])
    assert "\u00e9" in prompt.text


def test_tokens_beyond_the_table_are_left_out_and_bytes_are_bytes():
    content = json.loads(sentencepiece().to_str())
    tokens, types = vocabulary.list_tokens(content, 260)
    assert len(tokens) == 260 and types[0] == vocabulary.TokenType.UNKNOWN and tokens[3] == "<0x00>"
    assert types[1:4] == [vocabulary.TokenType.CONTROL] * 2 + [vocabulary.TokenType.BYTE]
