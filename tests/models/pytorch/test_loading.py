import importlib.util
import json
import shutil
import sys
from dataclasses import replace

import pytest
import small_architectures
import torch
from adapted_models import ASKED, FULL, LORA, METHODS, contents, pad_rows, taught
from peft import PeftModel
from transformers import AutoModelForCausalLM, GenerationConfig

from refrain.evaluation import divergence
from refrain.models.pytorch import loading, lora
from refrain.models.pytorch.language_model import TorchLanguageModel

RANDOM = replace(FULL, weights="random")
QLORA = replace(LORA, base_bits=4)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("method", [LORA, RANDOM, QLORA, METHODS["pissa"]], ids=["lora", "random", "qlora", "pissa"])
def test_new_weights_repeat_with_the_seed(base, method):
    assert same(loading.build_trainable(base, method, 3), loading.build_trainable(base, method, 3))


@pytest.mark.parametrize("method", [LORA, RANDOM, QLORA], ids=["lora", "random", "qlora"])
def test_new_weights_are_others_with_another_seed(base, method):
    assert not same(loading.build_trainable(base, method, 3), loading.build_trainable(base, method, 4))


def test_random_weights_are_not_the_pretrained_ones(base):
    random = loading.build_trainable(base, RANDOM, 3)
    assert random.config.to_dict() | {"dtype": None} == loading.load_pretrained(base).config.to_dict() | {"dtype": None}
    assert (
        divergence.measure_divergence(
            TorchLanguageModel(random), TorchLanguageModel(loading.load_pretrained(base)), ASKED
        ).whole
        > 0.1
    )


def test_weights_are_loaded_in_single_precision(base, tmp_path):
    loading.load_pretrained(base).to(torch.bfloat16).save_pretrained(tmp_path)
    assert {weight.dtype for weight in loading.load_pretrained(tmp_path).parameters()} == {torch.float32}
    assert {weight.dtype for weight in loading.build_random(tmp_path).parameters()} == {torch.float32}


@pytest.mark.parametrize(("file", "kept", "sentence"), [
    ("config.json", None, "config.json: it is missing; `dvc checkout --force` brings back"),
    ("config.json", b'{"model_type": "lla', "config.json: it is cut short or no JSON; "),
    ("config.json", b"{}", "config.json: it names no model_type, so it is not whole; "),
    ("model.safetensors", None, "no file named model.safetensors"),
    ("model.safetensors", b"", "its weights are cut short or no safetensors (.*header.*); "),
    ("model.safetensors", 1000, "its weights are cut short or no safetensors (.*); "),
])  # fmt: skip
def test_a_folder_that_is_not_whole_is_named_with_the_file(file, kept, sentence, base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "base")
    content = (folder / file).read_bytes()
    (folder / file).unlink()
    if kept is not None:
        (folder / file).write_bytes(content[:-kept] if isinstance(kept, int) else kept)
    with pytest.raises((ValueError, OSError), match=sentence.replace("(", r"\(").replace(")", r"\)")) as refused:
        loading.load_pretrained(folder)
    assert str(folder) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("family", ["tied", "gpt2"])
def test_random_weights_come_in_any_family(family, request):
    folder = request.getfixturevalue(family)
    random, before = loading.build_trainable(folder, RANDOM, 3), loading.load_pretrained(folder)
    assert {name: weight.shape for name, weight in random.named_parameters()} == {
        name: weight.shape for name, weight in before.named_parameters()
    }
    assert divergence.measure_divergence(TorchLanguageModel(random), TorchLanguageModel(before), ASKED).whole > 0.1


@pytest.mark.heavy
@pytest.mark.parametrize("name", METHODS)
def test_a_training_that_was_killed_ends_in_the_bytes_of_one_that_was_not(name, base, lessons, tmp_path):
    method = METHODS[name]
    loading.save_pretrained(
        taught(loading.build_trainable(base, method, 7), lessons, tmp_path / "runs"), tmp_path / "whole"
    )
    for checkpoint in ("checkpoint-3", "checkpoint-6"):
        again = taught(
            loading.build_trainable(base, method, 7), lessons, tmp_path / "again", resume=tmp_path / "runs" / checkpoint
        )
        loading.save_pretrained(again, tmp_path / checkpoint)
        assert contents(tmp_path / checkpoint) == contents(tmp_path / "whole")
    loading.save_pretrained(loading.build_trainable(base, method, 7), tmp_path / "untaught")
    assert contents(tmp_path / "untaught") != contents(tmp_path / "whole")


@pytest.mark.heavy
@pytest.mark.parametrize(
    "name, family",
    [(name, "base") for name in METHODS if METHODS[name].base_bits is None]
    + [(name, family) for name in ("full", "lora", "dora", "rslora", "all of it") for family in ("tied", "gpt2")],
)
def test_what_is_saved_is_what_was_trained_and_so_is_its_merge(name, family, request, lessons, tmp_path):
    folder, method = request.getfixturevalue(family), METHODS[name]
    model = taught(loading.build_trainable(folder, method, 7), lessons, tmp_path / "runs")
    loading.save_pretrained(model, tmp_path / "out")
    saved = TorchLanguageModel(loading.load_finetuned(folder, tmp_path / "out"))
    merged = loading.merge_adapter(loading.load_finetuned(folder, tmp_path / "out"))
    assert not isinstance(merged, PeftModel) and not any("lora" in name for name, _ in merged.named_parameters())
    divergence.require_equal(divergence.measure_divergence(TorchLanguageModel(model), saved, ASKED), 0.0, 1e-4)
    divergence.require_equal(divergence.measure_divergence(saved, TorchLanguageModel(merged), ASKED), 0.0, 1e-4)
    assert divergence.measure_divergence(saved, TorchLanguageModel(loading.load_pretrained(folder)), ASKED).whole > 0.1


@pytest.mark.heavy
@pytest.mark.parametrize("family", ["base", "tied", "gpt2"])
def test_what_was_trained_on_four_bits_is_folded_into_the_base_as_it_was(family, request, lessons, tmp_path):
    folder = request.getfixturevalue(family)
    model = taught(loading.build_trainable(folder, QLORA, 7), lessons, tmp_path / "runs")
    loading.save_pretrained(model, tmp_path / "out")
    saved, merged = (TorchLanguageModel(loading.load_finetuned(folder, tmp_path / "out")) for _ in range(2))
    assert {weight.dtype for weight in saved.model.parameters()} == {torch.float32}
    merged = TorchLanguageModel(loading.merge_adapter(merged.model))
    divergence.require_equal(divergence.measure_divergence(saved, merged, ASKED), 0.0, 1e-4)
    four_bits = TorchLanguageModel(model)
    near, far = (
        divergence.measure_divergence(four_bits, other, ASKED)
        for other in (merged, TorchLanguageModel(loading.load_pretrained(folder)))
    )
    assert 0 < near.kl < far.kl


@pytest.mark.parametrize("family", ["base", "tied", "gpt2"])
def test_four_bits_are_for_linear_layers_and_the_rest_stays_as_it_is(family, request):
    folder = request.getfixturevalue(family)
    model, before = loading.build_trainable(folder, QLORA, 3).get_base_model(), loading.load_pretrained(folder)
    head = before.get_output_embeddings()
    names = {
        name
        for name, layer in before.named_modules()
        if isinstance(layer, lora.Layer) and not isinstance(layer, torch.nn.Embedding) and layer is not head
    }
    packed = {name for name, weight in model.named_parameters() if weight.dtype == torch.uint8}
    assert packed == {f"{name}.base_layer.weight" for name in names} != set()
    kept = dict(before.named_parameters())
    assert all(torch.equal(weight, kept[name]) for name, weight in model.named_parameters() if name in kept)
    layer = model.get_submodule(f"{sorted(names)[0]}.base_layer")
    assert layer.weight.quant_type == "nf4" and layer.weight.quant_state.nested


@pytest.mark.parametrize("family", ["base", "gpt2"])
def test_evaluating_four_bits_does_not_change_what_is_learned(family, request, lessons):
    model = loading.build_trainable(request.getfixturevalue(family), QLORA, 3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)

    def gradients():
        model.train().zero_grad()
        model(**pad_rows(lessons[:2])).loss.backward()
        return [weight.grad.clone() for weight in model.parameters() if weight.requires_grad]

    before = gradients()
    with torch.no_grad():
        model.eval()(**pad_rows(lessons[:2]))
    assert all(torch.equal(one, other) for one, other in zip(before, gradients(), strict=True))
    assert all(gradient.abs().max() > 0 for gradient in before)


def test_four_bits_want_their_package_before_any_weight_loads(tmp_path, base, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    assert importlib.util.find_spec("bitsandbytes") is None
    shutil.copyfile(base / "config.json", tmp_path / "config.json")  # and no weights
    with pytest.raises(ValueError, match=r"^method\.base_bits=4 needs the .* pip install 'refrain-lm\[qlora\]'$"):
        loading.build_trainable(tmp_path, QLORA, 3)


def test_a_full_fine_tune_is_its_own_merge(base, tmp_path):
    model = loading.build_trainable(base, FULL, 3)
    assert all(weight.requires_grad for weight in model.parameters())
    torch.nn.init.normal_(model.lm_head.weight)
    loading.save_pretrained(model, tmp_path)
    loaded = loading.load_finetuned(base, tmp_path)
    assert loading.merge_adapter(loaded) is loaded and same(loaded, model)


def test_a_whole_model_ends_where_the_template_does_and_takes_no_chances(base, tmp_path):
    model = loading.load_pretrained(base)
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
    loading.save_for_serving(model, frozenset({4, 2}), tmp_path)
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
    assert same(loading.load_pretrained(tmp_path), model)


UNSAVABLE = {
    "sampling without sampling": ("generation_config.json", {"do_sample": False, "temperature": 0.9, "top_p": 0.6}),
    "sampling in the shape": ("config.json", {"temperature": 0.7, "max_length": 4096, "repetition_penalty": 1.2}),
    "padding below 0": ("generation_config.json", {"pad_token_id": -1}),
}


@pytest.mark.parametrize(("file", "settings"), UNSAVABLE.values(), ids=UNSAVABLE)
@pytest.mark.parametrize("method", [FULL, RANDOM, LORA], ids=["full", "random", "lora"])
def test_what_transformers_loads_and_would_not_save_is_left_out(base, tmp_path, method, file, settings):
    folder, out = shutil.copytree(base, tmp_path / "base"), tmp_path / "out"
    before = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    (folder / file).write_text(json.dumps({**before, "eos_token_id": 2, **settings}))
    loading.save_pretrained(loading.build_trainable(folder, method, 3), out)
    model = loading.merge_adapter(loading.load_finetuned(folder, out))
    loading.save_for_serving(model, frozenset({2}), tmp_path / "merged")
    kept = GenerationConfig.from_pretrained(tmp_path / "merged")
    assert (kept.eos_token_id, kept.do_sample, kept.temperature) == ([2], False, 1.0)


def test_a_shape_that_cannot_be_saved_is_refused_before_its_weights_load(base, monkeypatch):
    def refuse(self, strict=False):
        if strict:
            raise ValueError("`rope` is\nnot valid")

    monkeypatch.setattr(GenerationConfig, "validate", refuse)
    monkeypatch.setattr(loading, "load_pretrained", None)
    with pytest.raises(ValueError, match=r"^config.json of the base: .* kind llama with it \(`rope` is not valid\)"):
        loading.build_trainable(base, FULL, 3)


def test_attention_with_a_cap_is_computed_with_it(tmp_path):
    """Equal logits with SDPA would mean that it is left out: the default of transformers."""
    small_architectures.random("gemma2").save_pretrained(tmp_path)
    ids = torch.arange(12)[None]
    with torch.no_grad():
        whole, default = loading.load_pretrained(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)
        capped = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
        assert torch.equal(whole(ids).logits, capped(ids).logits)
        assert (whole(ids).logits - default(ids).logits).abs().max() > 0.1
    assert loading.build_random(tmp_path).config._attn_implementation == "eager"
