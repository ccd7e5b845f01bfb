"""The prepare stage on sources made up for a test, run in the working directory."""

import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import presets
import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers

from refrain.chat import records
from refrain.pipeline import paths
from refrain.pipeline.schema import SourceConfig
from stages import prepare

QUESTION = "How much of all the water on Earth is salty water in the oceans"
LONG = QUESTION + ", the seas and the many bays of every shore"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@cache
def defaults():
    """What conf/ says when nobody says otherwise."""
    return presets.config("data=files", "data.sources=[{path: none}]")


@cache
def tokenizer():
    """A folder with a tokenizer of one token a byte, and a chat template."""
    folder = Path(tempfile.mkdtemp(prefix="refrain-tokenizer-"))
    raw = Tokenizer(
        tokenizers.models.BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, [])
    )
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(name, normalized=False) for name in ("<|im_start|>", "<|im_end|>")])
    raw.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def settings(
    *sources,
    val=0.0,
    test=0.0,
    seed=1,
    max_tokens=100_000,
    max_quarantined=1.0,
    policies=None,
    leaks=None,
    augment=None,
    jinja=None,
    method="lora",
    **data,
):
    """The configuration for sources given as (name, content, settings), with these values in place of conf/'s."""
    cfg = defaults()
    given = [SourceConfig(f"some/{name}", **own) for name, _, own in sources]
    values = {
        "policies": replace(cfg.data.policies, **policies or {}),
        "leaks": replace(cfg.data.leaks, **leaks or {}),
        "augment": replace(cfg.data.augment, **augment or {}),
        "max_tokens": max_tokens,
        "max_quarantined": max_quarantined,
        "workers": 1,
        **data,
    }
    data = replace(cfg.data, sources=given, val_fraction=val, test_fraction=test, **values)
    chosen = presets.config(f"method={method}").method
    return replace(cfg, seed=seed, data=data, method=chosen, template=replace(cfg.template, jinja=jinja))


def run(*sources, **values):
    """The rows of each file in data/prepared; of sources as (name, content, settings) a list becomes JSON Lines."""
    paths.LINKED_DATA.mkdir(parents=True, exist_ok=True)
    if not paths.BASE.exists():
        paths.BASE.parent.mkdir(parents=True, exist_ok=True)
        paths.BASE.symlink_to(tokenizer())
    for index, (name, content, _) in enumerate(sources):
        lines = "".join(json.dumps(row) + "\n" for row in content) if isinstance(content, list) else content
        paths.linked_source(index, f"some/{name}").write_bytes(lines.encode() if isinstance(lines, str) else lines)
    prepare.main(settings(*sources, **values))
    return {file.stem: records.read_rows(file) for file in paths.PREPARED.iterdir()}


def report():
    """What reports/data.json says of the last run."""
    return json.loads(paths.DATA_REPORT.read_text())


def qa(question, answer="Yes."):
    return {"question": question, "answer": answer}


def ids(rows):
    return [row["id"] for row in rows]


def split_of(files):
    """The questions of each split."""
    return {name: {row["messages"][0]["content"] for row in files[name]} for name in ("train", "val", "test")}


def numbered(count):
    """Questions that share no three words."""
    return [qa(" ".join(f"{word}{number}" for word in "abcdef"), str(number)) for number in range(count)]
