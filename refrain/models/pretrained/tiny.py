"""A tiny base from nothing but a text: a byte-level BPE tokenizer and a Llama-shaped model that has read it."""

import json
from dataclasses import asdict
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, set_seed

from refrain.chat.encoding import Features
from refrain.pipeline.manifest import file_sha256
from refrain.pipeline.schema import TinyConfig, TrainConfig
from refrain.training import fit
from refrain.training.objectives import sft

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def pretrain(tiny: TinyConfig, corpus: Path, seed: int, out: Path, checkpoints: Path) -> None:
    """Write a whole model folder to `out`: weights, config, tokenizer and template, the same bytes every time.

    In `checkpoints`, which is this pretraining's alone, lies where it goes on after it was stopped.
    """
    lines = [line for line in corpus.read_text(encoding="utf-8").split("\n") if line]
    if not lines:
        raise ValueError(f"{tiny.corpus or 'data.sources'}: the corpus has no text")
    tokenizer = train_tokenizer(lines, tiny.vocabulary)
    tokenizer.save(str(out / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[0],
        "model_max_length": tiny.context,
        "model_input_names": ["input_ids", "attention_mask"],  # by default token_type_ids too, which generate refuses
        "clean_up_tokenization_spaces": False,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (out / "chat_template.jinja").write_text(CHATML)
    set_seed(seed)
    model = LlamaForCausalLM(build_llama_config(tiny, tokenizer.get_vocab_size()))
    rows = [encode_line(tokenizer, line) for line in lines]
    try:
        fit.train_model(model, rows, [], sft, build_train_config(tiny), seed, checkpoints)
    except ValueError as error:  # it names the key of a fine-tuning
        raise ValueError(str(error).replace("train.lr", "model.tiny.lr")) from error
    model.save_pretrained(out)
    source = {"tiny": asdict(tiny), "corpus": file_sha256(corpus), "seed": seed}
    (out / "source.json").write_text(json.dumps(source, indent=2, sort_keys=True) + "\n")


def train_tokenizer(lines: list[str], vocabulary: int) -> Tokenizer:
    """Any text in, the same text out: every byte is in the alphabet."""
    result = Tokenizer(models.BPE())
    result.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    result.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    result.train_from_iterator(lines, trainer)
    return result


def build_llama_config(tiny: TinyConfig, vocabulary: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=tiny.width,
        intermediate_size=tiny.feed_forward,
        num_hidden_layers=tiny.layers,
        num_attention_heads=tiny.heads,
        num_key_value_heads=tiny.kv_heads,
        max_position_embeddings=tiny.context,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
    )


def encode_line(tokenizer: Tokenizer, line: str) -> Features:
    """A line of the corpus, all of it to be learned, and the mark that it is over."""
    ids = [*tokenizer.encode(line).ids, 0]
    return {"input_ids": ids, "labels": list(ids)}


def build_train_config(tiny: TinyConfig) -> TrainConfig:
    return TrainConfig(
        lr=tiny.lr,
        epochs=tiny.epochs,
        batch_size=tiny.batch_size,
        micro_batch_tokens=4096,
        packing=True,
        warmup=0.02,
        schedule="cosine",
        decay=0.0,
        weight_decay=0.01,
        patience=None,
        precision="fp32",
        gradient_checkpointing=False,
        compile=False,
        report_to=[],
        recipe="tiny",
    )
