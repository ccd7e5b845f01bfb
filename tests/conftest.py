import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

OWN = (
    "<|bos|>{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="session")
def tokenizer():
    """Byte-level, with merges that reach over line breaks, and with a BOS that it adds unless told not to."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|bos|>", "<|im_start|>", "<|im_end|>", "<|assistant|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[AddedToken(name, normalized=False) for name in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(["the user and the assistant:\n\n\n\nhello 🙂   \n\n\n\n there"] * 9, trainer)
    raw.post_processor = processors.TemplateProcessing("<|bos|> $A", special_tokens=[("<|bos|>", 0)])
    return raw


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A function that writes a tokenizer as the Hub would serve it, and gives its folder."""

    def save(raw: Tokenizer, **settings) -> Path:
        folder = tmp_path_factory.mktemp("saved")
        raw.save(str(folder / "tokenizer.json"))
        named = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **settings}
        (folder / "tokenizer_config.json").write_text(json.dumps(named))
        return folder

    return save
