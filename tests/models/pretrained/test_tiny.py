import logging
import os
import shutil
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import presets
import pytest
import torch
from omegaconf import OmegaConf
from places import ROOT
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from refrain.chat import encoding
from refrain.models.pretrained import tiny
from refrain.pipeline import paths
from refrain.pipeline.schema import TinyConfig
from refrain.training import checkpoints
from refrain.training.callbacks import checkpointing
from stages import base

DEFAULT = TinyConfig(**OmegaConf.load(ROOT / "conf/model/tiny.yaml").tiny)
SMALL = replace(
    DEFAULT, vocabulary=320, layers=1, width=32, heads=4, kv_heads=2, feed_forward=64, epochs=2, batch_size=4
)
CORPUS = "Water is life. 💧\n\nA água é vida.\nTrees clean the air.\n" * 4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text(CORPUS, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory):
    """Makes a base into a new folder."""

    def make(**changes):
        folder = tmp_path_factory.mktemp("made")
        tiny.pretrain(replace(SMALL, **changes), corpus, 7, folder, tmp_path_factory.mktemp("checkpoints"))
        return folder

    return make


@pytest.fixture(scope="module")
def folder(made):
    return made()


@pytest.mark.heavy
def test_the_same_corpus_gives_the_same_bytes(folder, made):
    one, two = ({file.name: file.read_bytes() for file in place.iterdir()} for place in (folder, made()))
    assert one == two
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "source.json"} < set(one)


def test_the_default_has_two_to_five_million_weights():
    with torch.device("meta"):
        model = LlamaForCausalLM(tiny.build_llama_config(DEFAULT, DEFAULT.vocabulary))
    weights = model.state_dict().values()  # the head, though it is the embedding again, counts where it works
    assert 2e6 < sum(weight.numel() for weight in weights) < 5e6


def test_reading_teaches(folder, made):
    line = "Trees clean the air."
    losses = []
    for place in (folder, made(epochs=20)):
        ids = torch.tensor([AutoTokenizer.from_pretrained(place)(line).input_ids])
        losses.append(AutoModelForCausalLM.from_pretrained(place)(ids, labels=ids).loss.item())
    assert losses[1] < losses[0] - 1


@pytest.mark.parametrize("text", ["💧 água 👩‍🚀", "東京 \t\n\n  x", "", "\x00\x7f\u2028"])
def test_any_text_comes_back(folder, text):
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert raw.decode(raw.encode(text).ids) == text


def test_a_vocabulary_is_at_most_as_large_as_asked_and_every_id_has_a_vector(folder, made):
    sizes = []
    for place in (folder, made(vocabulary=270)):
        sizes.append(Tokenizer.from_file(str(place / "tokenizer.json")).get_vocab_size())
        assert AutoModelForCausalLM.from_pretrained(place).get_input_embeddings().num_embeddings == sizes[-1]
    assert 270 == sizes[1] < sizes[0] <= SMALL.vocabulary


def test_a_line_is_learned_whole_and_ends(folder):
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    row = tiny.encode_line(raw, "A água é vida.")
    assert row["labels"] == row["input_ids"] and row["input_ids"][-1] == raw.token_to_id("<|endoftext|>")
    assert raw.decode(row["input_ids"]) == "A água é vida."


def test_it_speaks_chatml(folder):
    talk = encoding.load_tokenizer(folder)
    ids = encoding.encode_prompt(talk, [{"role": "user", "content": "Water?"}])
    assert talk.tokenizer.decode(ids, skip_special_tokens=False) == (
        "<|im_start|>user\nWater?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert talk.stop_ids == {AutoModelForCausalLM.from_pretrained(folder).config.eos_token_id}


def test_a_corpus_without_text_is_refused(tmp_path):
    (tmp_path / "corpus.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"^data/raw/corpus\.txt: the corpus has no text$"):
        tiny.pretrain(SMALL, tmp_path / "corpus.txt", 7, tmp_path, tmp_path)


def test_a_pretraining_that_diverges_names_its_own_rate(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"after step \d+: the training has diverged; lower model\.tiny\.lr=1e\+30$"):
        tiny.pretrain(replace(SMALL, lr=1e30, epochs=9), corpus, 7, tmp_path, tmp_path)


@pytest.fixture
def stage(corpus, tmp_path, monkeypatch):
    """Runs the base stage in a folder of its own."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    paths.LINKED_MODEL.mkdir(parents=True)
    shutil.copyfile(corpus, paths.LINKED_MODEL / "corpus.txt")
    cfg = presets.config("seed=7")
    cfg.model.tiny = SMALL
    return partial(base.main, cfg)


def kill_while_it_runs(stage, how):
    """In a child, which gets a signal when its second checkpoint is sealed; how it ended, and what it said."""
    sealed, said = checkpoints.seal_checkpoint, Path("said.txt")

    def seal(checkpoint):
        sealed(checkpoint)
        if checkpoint.name == "checkpoint-2":
            os.kill(os.getpid(), how)

    if not (child := os.fork()):
        os.environ[checkpointing.INTERVAL_VARIABLE], checkpointing.COST_FACTOR = "0", 0
        checkpoints.seal_checkpoint = seal
        try:
            stage()
        except BaseException as error:
            said.write_text(str(error))
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, said.read_text() if said.exists() else ""


@pytest.mark.heavy
@pytest.mark.parametrize("how, end, step", [
    (signal.SIGINT, (0, "stopped at step 3 (SIGINT); the next run goes on from there"), 3),
    (signal.SIGKILL, (-signal.SIGKILL, ""), 2),
])  # fmt: skip
def test_a_pretraining_that_is_stopped_goes_on_from_its_step_to_the_same_bytes(stage, folder, caplog, how, end, step):
    assert kill_while_it_runs(stage, how) == end
    caplog.set_level(logging.INFO, "refrain")
    stage()
    assert f"going on from step {step}" in caplog.text and "missing keys" not in caplog.text
    assert not list(checkpoints.checkpoints_root().iterdir())
    assert all((paths.BASE / file.name).read_bytes() == file.read_bytes() for file in folder.iterdir())
