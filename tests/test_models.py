import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, GenerationConfig, GPT2Config

from refrain import decoding, likeness, models
from refrain.config import Adapter, Method
from refrain.models import Speaker

ROOT = Path(__file__).parents[1]
LORA = Method(name="", weights="pretrained", adapter=Adapter(rank=4, alpha=8, dropout=0.0))
ASKED = [[1, 60, 200, 7], [9, 9, 120]]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_lora_stands_beside_every_linear_layer_but_the_head(base):
    model = models.build(base, LORA, 3)
    linear = {name for name, layer in models.load(base).named_modules() if isinstance(layer, torch.nn.Linear)}
    prefix = "base_model.model."
    adapted = {
        name.removeprefix(prefix).split(".lora_A")[0] for name, _ in model.named_parameters() if ".lora_A" in name
    }
    assert adapted == linear - {"lm_head"} != set()
    assert {name.split(".")[-3] for name, weight in model.named_parameters() if weight.requires_grad} == {
        "lora_A",
        "lora_B",
    }


@pytest.mark.parametrize("method", [LORA, Method(name="", weights="random", adapter=None)], ids=["lora", "random"])
def test_new_weights_repeat_with_the_seed_and_with_no_other(base, method):
    first, again, other = (models.build(base, method, seed) for seed in (3, 3, 4))
    assert same(first, again) and not same(first, other)


def test_random_weights_are_not_the_pretrained_ones(base):
    random = models.build(base, Method(name="", weights="random", adapter=None), 3)
    assert random.config.to_dict() | {"dtype": None} == models.load(base).config.to_dict() | {"dtype": None}
    assert likeness.likeness(Speaker(random), Speaker(models.load(base)), ASKED).whole > 0.1


def test_weights_are_loaded_in_single_precision(base, tmp_path):
    models.load(base).to(torch.bfloat16).save_pretrained(tmp_path)
    assert {weight.dtype for weight in models.load(tmp_path).parameters()} == {torch.float32}
    assert {weight.dtype for weight in models.random(tmp_path).parameters()} == {torch.float32}


def test_merged_is_the_adapter_on_its_base(base, adapter):
    adapted, merged = Speaker(models.trained(base, adapter)), models.merged(models.trained(base, adapter))
    assert not isinstance(merged, PeftModel) and not any("lora" in name for name, _ in merged.named_parameters())
    likeness.require_equal(likeness.likeness(adapted, Speaker(merged), ASKED), 1e-4)
    assert likeness.likeness(adapted, Speaker(models.load(base)), ASKED).whole > 0.1


def test_a_full_fine_tune_is_its_own_merge(base, tmp_path):
    model = models.build(base, Method(name="", weights="pretrained", adapter=None), 3)
    assert all(weight.requires_grad for weight in model.parameters())
    torch.nn.init.normal_(model.lm_head.weight)
    models.save(model, tmp_path)
    loaded = models.trained(base, tmp_path)
    assert models.merged(loaded) is loaded and same(loaded, model)


def test_an_adapter_is_the_same_bytes_whatever_the_order_of_a_set(base, tmp_path):
    code = (
        "import sys; from pathlib import Path; from refrain import config, models;"
        "method = config.Method(name='', weights='pretrained', adapter=config.Adapter(rank=2, alpha=4, dropout=0.0));"
        "base, out = map(Path, sys.argv[1:]); models.save(models.build(base, method, 3), out)"
    )
    folders = [tmp_path / seed for seed in "012"]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, base, folder], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": folder.name}
        )
        for folder in folders
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    first, *others = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert set(first) == {"adapter_config.json", "adapter_model.safetensors"}
    assert others == [first, first]
    targets = json.loads(first["adapter_config.json"])["target_modules"]
    assert targets == sorted(targets) and len(targets) > 1


def test_a_whole_model_ends_where_the_template_does_and_takes_no_chances(base, tmp_path):
    model = models.load(base)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.6,
        top_p=0.9,
        top_k=20,
        min_p=0.1,
        repetition_penalty=1.3,
        pad_token_id=0,
        eos_token_id=4,
    )
    models.save_whole(model, frozenset({4, 2}), tmp_path)
    settings = GenerationConfig.from_pretrained(tmp_path)
    assert (settings.eos_token_id, settings.pad_token_id) == ([2, 4], 0)
    assert settings.to_diff_dict().keys() <= {
        "eos_token_id",
        "pad_token_id",
        "transformers_version",
        "_from_model_config",
    }
    greedy = AutoModelForCausalLM.from_pretrained(tmp_path).generate(torch.tensor([ASKED[0]]), max_new_tokens=3)
    assert greedy[0, 4] == model(torch.tensor([ASKED[0]])).logits[0, -1].argmax()
    assert same(models.load(tmp_path), model)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_a_speaker_says_the_same_with_a_cache_and_beside_others(positions, base):
    torch.manual_seed(0)
    learned = GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=32, initializer_range=0.2)
    speaker = Speaker(models.load(base) if positions == "rotary" else AutoModelForCausalLM.from_config(learned))
    ids, mask = decoding.padded(ASKED)
    _, cache = speaker.forward(ids, mask, None, 1)
    logits, _ = speaker.forward(np.array([[5], [6]]), decoding.longer(mask), cache, 1)
    for row, prompt, token in zip(logits[:, 0], ASKED, (5, 6), strict=True):
        assert np.abs(row - likeness.whole(speaker, [*prompt, token])[-1]).max() < 1e-4


@pytest.mark.parametrize("keep, count", [(0, 4), (1, 1), (3, 3)])
def test_a_speaker_gives_as_many_logits_of_its_model_as_are_wanted(base, keep, count):
    model = models.load(base)
    right = model(torch.tensor([ASKED[0]])).logits[0, -count:].detach().numpy()
    got = likeness.whole(Speaker(model), ASKED[0], keep)
    assert got.shape == right.shape and np.abs(got - right).max() < 1e-5


def test_a_speaker_drops_nothing_out(base):
    dropping = Method(name="", weights="pretrained", adapter=Adapter(rank=4, alpha=8, dropout=0.9))
    model = models.build(base, dropping, 3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(weight)
    speaker = Speaker(model.train())
    assert likeness.likeness(speaker, speaker, ASKED).whole == 0
