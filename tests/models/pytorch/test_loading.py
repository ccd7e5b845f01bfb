import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import PeftModel
from places import ROOT
from safetensors.torch import load_file
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    GPT2Config,
    LlamaConfig,
    Trainer,
    TrainingArguments,
)

from refrain.chat import encoding
from refrain.evaluation import divergence
from refrain.models.pytorch import loading
from refrain.models.pytorch.language_model import TorchLanguageModel
from refrain.pipeline.schema import AdapterConfig, MethodConfig
from refrain.runtime import language_model

PLAIN = AdapterConfig(rank=4, alpha=8, dropout=0.0, layers=None, init="zero", dora=False, rslora=False)
LORA = MethodConfig(name="", weights="pretrained", base_bits=None, adapter=PLAIN, preference=None, init_adapter=None)
FULL = replace(LORA, adapter=None)
RANDOM = replace(FULL, weights="random")
QLORA = replace(LORA, base_bits=4)


def adapted(**changes):
    """LoRA with other values of its adapter."""
    return replace(LORA, adapter=replace(PLAIN, **changes))


METHODS = {
    "full": FULL,
    "lora": adapted(dropout=0.1),
    "qlora": replace(adapted(dropout=0.1), base_bits=4),
    "dora": adapted(dora=True),
    "qdora": replace(adapted(dora=True), base_bits=4),
    "rslora": adapted(rslora=True),
    "pissa": adapted(init="pissa"),
    "all of it": adapted(init="pissa", dora=True, rslora=True, dropout=0.1),
    "some layers": adapted(layers=["q_proj", "mlp.up_proj"]),
    "table and head": adapted(layers=["embed_tokens", "lm_head"], dora=True),
}
ASKED = [[1, 60, 200, 7], [9, 9, 120]]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def padded(rows):
    """A batch as any trainer takes it."""
    ids, labels = ([torch.tensor(row[name]) for row in rows] for name in ("input_ids", "labels"))
    return {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=encoding.IGNORE_INDEX),
    }


def taught(model, rows, folder, steps=6, resume=None, lr=1e-2):
    """The model after some steps of six, with a checkpoint and an evaluation after each three."""
    settings = TrainingArguments(
        str(folder),
        max_steps=6,
        per_device_train_batch_size=4,
        learning_rate=lr,
        save_strategy="steps",
        save_steps=3,
        eval_strategy="steps",
        eval_steps=1,
        seed=7,
        use_cpu=True,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(model, settings, padded, train_dataset=rows, eval_dataset=rows[:2])
    trainer.train(resume_from_checkpoint=resume and str(resume))
    return model


@pytest.fixture(scope="module")
def lessons(talk, rows):
    return [dict(encoding.encode_conversation(talk, row["messages"])) for row in rows]


@pytest.fixture(scope="module")
def tied(base, tmp_path_factory):
    """The base with one matrix for the table of tokens and the head."""
    folder = tmp_path_factory.mktemp("tied")
    model = loading.load_pretrained(base)
    settings = model.config.to_dict() | {"tie_word_embeddings": True, "initializer_range": 0.1}
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(LlamaConfig(**settings)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """Weights the other way round, in Conv1D, no multiple of 64 wide, with a tied head."""
    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(2)
    shape = GPT2Config(vocab_size=320, n_embd=48, n_layer=2, n_head=2, n_positions=256, initializer_range=0.2,
                       resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)  # fmt: skip
    AutoModelForCausalLM.from_config(shape).save_pretrained(folder)
    return folder


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def carriers(model):
    """The layers with matrices beside them, by their names in the base."""
    names = [name for name, _ in model.named_parameters() if ".lora_" in name]
    return {name.removeprefix("base_model.model.").split(".lora_")[0] for name in names}


@pytest.mark.parametrize("bits", [None, 4])
def test_lora_stands_beside_every_linear_layer_but_the_head(base, bits):
    model = loading.build_trainable(base, replace(LORA, base_bits=bits), 3)
    linear = {
        name for name, layer in loading.load_pretrained(base).named_modules() if isinstance(layer, torch.nn.Linear)
    }
    assert carriers(model) == linear - {"lm_head"} != set()
    learning = {name.split(".")[-3] for name, weight in model.named_parameters() if weight.requires_grad}
    assert learning == {"lora_A", "lora_B"}


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


@pytest.mark.parametrize("family", ["tied", "gpt2"])
def test_random_weights_come_in_any_family(family, request):
    folder = request.getfixturevalue(family)
    random, before = loading.build_trainable(folder, RANDOM, 3), loading.load_pretrained(folder)
    assert {name: weight.shape for name, weight in random.named_parameters()} == {
        name: weight.shape for name, weight in before.named_parameters()
    }
    assert divergence.measure_divergence(TorchLanguageModel(random), TorchLanguageModel(before), ASKED).whole > 0.1


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
    divergence.require_equal(divergence.measure_divergence(TorchLanguageModel(model), saved, ASKED), 1e-4)
    divergence.require_equal(divergence.measure_divergence(saved, TorchLanguageModel(merged), ASKED), 1e-4)
    assert divergence.measure_divergence(saved, TorchLanguageModel(loading.load_pretrained(folder)), ASKED).whole > 0.1


@pytest.mark.parametrize("family", ["base", "tied", "gpt2"])
def test_what_was_trained_on_four_bits_is_folded_into_the_base_as_it_was(family, request, lessons, tmp_path):
    folder = request.getfixturevalue(family)
    model = taught(loading.build_trainable(folder, QLORA, 7), lessons, tmp_path / "runs")
    loading.save_pretrained(model, tmp_path / "out")
    saved, merged = (TorchLanguageModel(loading.load_finetuned(folder, tmp_path / "out")) for _ in range(2))
    assert {weight.dtype for weight in saved.model.parameters()} == {torch.float32}
    merged = TorchLanguageModel(loading.merge_adapter(merged.model))
    divergence.require_equal(divergence.measure_divergence(saved, merged, ASKED), 1e-4)
    four_bits = TorchLanguageModel(model)
    near, far = (
        divergence.measure_divergence(four_bits, other, ASKED)
        for other in (merged, TorchLanguageModel(loading.load_pretrained(folder)))
    )
    assert 0 < near.kl < far.kl


def test_pissa_begins_as_the_base_and_with_its_principal_components(base):
    model, before = loading.build_trainable(base, METHODS["pissa"], 7), loading.load_pretrained(base)
    assert divergence.measure_divergence(TorchLanguageModel(model), TorchLanguageModel(before), ASKED).whole < 1e-4
    layer, weight = model.get_submodule("base_model.model.model.layers.0.mlp.up_proj"), before.model.layers[0].mlp
    taken = torch.linalg.svdvals(layer.get_delta_weight("default"))
    assert torch.allclose(taken[:4], torch.linalg.svdvals(weight.up_proj.weight)[:4], rtol=1e-4)
    assert taken[4] < 1e-4 * taken[0]


def test_pissa_is_saved_for_the_base_as_it_was(base, lessons, tmp_path):
    loading.save_pretrained(
        taught(loading.build_trainable(base, METHODS["pissa"], 7), lessons, tmp_path / "runs"), tmp_path / "out"
    )
    settings = json.loads((tmp_path / "out/adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["init_lora_weights"]) == (8, 16, True)
    ranks = {weight.shape[0] for name, weight in load_file(tmp_path / "out/adapter_model.safetensors").items()
             if "lora_A" in name}  # fmt: skip
    assert ranks == {8}


def test_dora_learns_the_size_of_each_row_too(base, lessons, tmp_path):
    model = loading.build_trainable(base, METHODS["dora"], 7)
    sizes = {name: weight for name, weight in model.named_parameters() if "lora_magnitude_vector" in name}
    before = {name: weight.clone() for name, weight in sizes.items()}
    row = loading.load_pretrained(base).model.layers[1].self_attn.q_proj.weight.norm(dim=1)
    assert any(weight.shape == row.shape and torch.allclose(weight, row) for weight in before.values())
    taught(model, lessons, tmp_path)
    assert len(sizes) == len(carriers(model)) and not any(torch.equal(sizes[name], before[name]) for name in sizes)


@pytest.mark.parametrize("rslora, scale", [(False, 8 / 4), (True, 8 / 4**0.5)])
def test_matrices_are_scaled_by_alpha_over_the_rank_or_its_root(base, rslora, scale):
    layer = loading.build_trainable(base, adapted(rslora=rslora), 7).get_submodule(
        "base_model.model.model.layers.0.mlp.up_proj"
    )
    assert layer.scaling["default"] == scale


def test_an_adapter_holds_no_weight_of_the_base(base, tmp_path):
    loading.save_pretrained(loading.build_trainable(base, METHODS["table and head"], 7), tmp_path)
    names = load_file(tmp_path / "adapter_model.safetensors").keys()
    assert names and all(".lora_" in name for name in names)


@pytest.mark.parametrize("family", ["base", "tied", "gpt2"])
def test_four_bits_are_for_linear_layers_and_the_rest_stays_as_it_is(family, request):
    folder = request.getfixturevalue(family)
    model, before = loading.build_trainable(folder, QLORA, 3).get_base_model(), loading.load_pretrained(folder)
    head = before.get_output_embeddings()
    names = {
        name
        for name, layer in before.named_modules()
        if isinstance(layer, loading.adapters.Layer) and not isinstance(layer, torch.nn.Embedding) and layer is not head
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
        model(**padded(lessons[:2])).loss.backward()
        return [weight.grad.clone() for weight in model.parameters() if weight.requires_grad]

    before = gradients()
    with torch.no_grad():
        model.eval()(**padded(lessons[:2]))
    assert all(torch.equal(one, other) for one, other in zip(before, gradients(), strict=True))
    assert all(gradient.abs().max() > 0 for gradient in before)


def test_four_bits_want_their_package_before_any_weight_loads(tmp_path, base, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    assert importlib.util.find_spec("bitsandbytes") is None
    shutil.copyfile(base / "config.json", tmp_path / "config.json")  # and no weights
    with pytest.raises(ValueError, match=r"^method\.base_bits=4 needs the package .* pip install 'refrain\[qlora\]'$"):
        loading.build_trainable(tmp_path, QLORA, 3)


REFUSED = {
    "lm_head": ("tied", {"layers": ["q_proj", "lm_head"]}, "lm_head shares its weights with model.embed_tokens"),
    "table": ("tied", {"layers": ["embed_tokens"]}, "model.embed_tokens shares its weights with lm_head"),
    "wte": ("gpt2", {"layers": ["wte"]}, "transformer.wte shares its weights with lm_head"),
    "typo": ("base", {"layers": ["q_proj", "k_prj"]}, "layers: k_prj is the end of no layer's name; there is k_proj$"),
    "part": ("base", {"layers": ["proj"]}, "layers: proj is the end of no layer's name; there is .*_proj"),
    "block": ("base", {"layers": ["mlp"]}, "layers: mlp is the end of no layer's name"),
    "norm": ("base", {"layers": ["input_layernorm"]}, "layers: input_layernorm is the end of no layer's name"),
    "none": ("base", {"layers": ["x"]}, "there is down_proj, embed_tokens, gate_proj, k_proj, lm_head"),
    "empty": ("base", {"layers": [""]}, "is the end of no layer's name"),
    "pissa": (
        "base",
        {"layers": ["embed_tokens"], "init": "pissa"},
        "pissa is for linear layers and model.embed_tokens",
    ),
    "rank": (
        "base",
        {"rank": 65, "init": "pissa"},
        "rank=65 is more than the 64 principal components of model.layers.0",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_adapter_that_cannot_be_is_refused_before_weights_load(case, request, tmp_path):
    family, changes, sentence = REFUSED[case]
    shutil.copyfile(request.getfixturevalue(family) / "config.json", tmp_path / "config.json")  # and no weights
    with pytest.raises(ValueError, match=rf"^method\.adapter\..*{sentence}") as refusal:
        loading.build_trainable(tmp_path, adapted(**changes), 3)
    assert "\n" not in str(refusal.value)


@pytest.fixture(scope="module")
def earlier(base, lessons, tmp_path_factory):
    """What a first round of training left, and the model that it was."""
    folder = tmp_path_factory.mktemp("earlier")
    model = taught(loading.build_trainable(base, LORA, 7), lessons, tmp_path_factory.mktemp("runs"))
    loading.save_pretrained(model, folder)
    return folder, model


@pytest.mark.parametrize("bits", [None, 4])
def test_a_second_round_begins_with_the_first_and_learns_on(base, lessons, earlier, tmp_path, bits):
    folder, first = earlier
    method = replace(adapted(dropout=0.5), base_bits=bits)
    loading.save_pretrained(loading.build_trainable(base, method, 7, folder), tmp_path / "begun")
    first_weights, begun = (load_file(place / "adapter_model.safetensors") for place in (folder, tmp_path / "begun"))
    assert first_weights.keys() == begun.keys() and all(torch.equal(first_weights[name], begun[name]) for name in begun)
    if bits is None:
        assert (
            divergence.measure_divergence(
                TorchLanguageModel(loading.build_trainable(base, method, 7, folder)), TorchLanguageModel(first), ASKED
            ).whole
            == 0
        )
    loading.save_pretrained(
        taught(loading.build_trainable(base, method, 7, folder), lessons, tmp_path / "runs"), tmp_path / "whole"
    )
    again = loading.build_trainable(base, method, 7, folder)
    taught(again, lessons, tmp_path / "again", resume=tmp_path / "runs/checkpoint-3")
    loading.save_pretrained(again, tmp_path / "resumed")
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")
    learned = load_file(tmp_path / "whole/adapter_model.safetensors")
    assert not any(torch.equal(learned[name], begun[name]) for name in begun)
    assert json.loads((tmp_path / "whole/adapter_config.json").read_text())["lora_dropout"] == 0.5


def test_a_second_round_after_pissa_wants_twice_the_rank(base, lessons, tmp_path):
    model = taught(loading.build_trainable(base, METHODS["pissa"], 7), lessons, tmp_path / "runs")
    loading.save_pretrained(model, tmp_path / "out")
    with pytest.raises(ValueError, match=r"has rank=8, and method.adapter.rank is 4; set method.adapter.rank=8$"):
        loading.build_trainable(base, LORA, 7, tmp_path / "out")
    second = loading.build_trainable(base, adapted(rank=8, alpha=16), 7, tmp_path / "out")
    divergence.require_equal(
        divergence.measure_divergence(TorchLanguageModel(model), TorchLanguageModel(second), ASKED), 1e-4
    )


OTHERS = {
    "rank": ({"rank": 2}, "its adapter has rank=4, and method.adapter.rank is 2; set method.adapter.rank=4"),
    "alpha": ({"alpha": 4}, "its adapter has alpha=8, and method.adapter.alpha is 4; set method.adapter.alpha=8"),
    "dora": (
        {"dora": True},
        "its adapter has dora=false, and method.adapter.dora is true; set method.adapter.dora=false",
    ),
    "rslora": (
        {"rslora": True},
        "has rslora=false, and method.adapter.rslora is true; set method.adapter.rslora=false",
    ),
    "layers": (
        {"layers": ["k_proj", "q_proj"]},
        "its adapter has layers=[down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj], and "
        "method.adapter.layers is [k_proj, q_proj]; set method.adapter.layers=[down_proj, gate_proj, ",
    ),
    "some": ({"layers": ["0.mlp.up_proj", *"qkvo"]}, "method.adapter.layers: q is the end of no layer's name"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_second_round_with_another_adapter_is_refused_before_weights_load(case, base, earlier, tmp_path):
    changes, sentence = OTHERS[case]
    shutil.copyfile(base / "config.json", tmp_path / "config.json")
    with pytest.raises(ValueError) as refusal:
        loading.build_trainable(tmp_path, adapted(**changes), 7, earlier[0])
    assert sentence in str(refusal.value)


def test_a_second_round_on_a_base_of_another_shape_is_refused(base, earlier, tmp_path):
    settings = json.loads((base / "config.json").read_text())
    for changes in ({"intermediate_size": 96}, {"num_hidden_layers": 3, "layer_types": None}):
        (tmp_path / "config.json").write_text(json.dumps(settings | changes))
        with pytest.raises(ValueError, match=r"^method\.start: its adapter is for a base of another depth or width"):
            loading.build_trainable(tmp_path, LORA, 7, earlier[0])


def test_a_second_round_wants_an_adapter(base, tmp_path):
    with pytest.raises(ValueError, match=r"^method\.start: no adapter was trained at that revision"):
        loading.build_trainable(base, LORA, 7, tmp_path)


def test_a_full_fine_tune_is_its_own_merge(base, tmp_path):
    model = loading.build_trainable(base, FULL, 3)
    assert all(weight.requires_grad for weight in model.parameters())
    torch.nn.init.normal_(model.lm_head.weight)
    loading.save_pretrained(model, tmp_path)
    loaded = loading.load_finetuned(base, tmp_path)
    assert loading.merge_adapter(loaded) is loaded and same(loaded, model)


def test_an_adapter_is_the_same_bytes_whatever_the_order_of_a_set(base, tmp_path):
    code = (
        "import sys; from pathlib import Path; from refrain.pipeline import schema as config;"
        "from refrain.models.pytorch import loading as models;"
        f"method = config.{LORA!r}".replace("=AdapterConfig(", "=config.AdapterConfig(")
        + ";"
        "base, out = map(Path, sys.argv[1:]); models.save_pretrained(models.build_trainable(base, method, 3), out)"
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


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_a_speaker_says_the_same_with_a_cache_and_beside_others(positions, base):
    torch.manual_seed(0)
    learned = GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=32, initializer_range=0.2)
    speaker = TorchLanguageModel(
        loading.load_pretrained(base) if positions == "rotary" else AutoModelForCausalLM.from_config(learned)
    )
    ids, mask = language_model.left_pad(ASKED)
    _, cache = speaker.forward(ids, mask, None, 1)
    logits, _ = speaker.forward(np.array([[5], [6]]), language_model.extend_mask(mask), cache, 1)
    for row, prompt, token in zip(logits[:, 0], ASKED, (5, 6), strict=True):
        assert np.abs(row - divergence.sequence_logits(speaker, [*prompt, token])[-1]).max() < 1e-4


@pytest.mark.parametrize("keep, count", [(0, 4), (1, 1), (3, 3)])
def test_a_speaker_gives_as_many_logits_of_its_model_as_are_wanted(base, keep, count):
    model = loading.load_pretrained(base)
    right = model(torch.tensor([ASKED[0]])).logits[0, -count:].detach().numpy()
    got = divergence.sequence_logits(TorchLanguageModel(model), ASKED[0], keep)
    assert got.shape == right.shape and np.abs(got - right).max() < 1e-5


def test_a_speaker_drops_nothing_out(base):
    model = loading.build_trainable(base, adapted(dropout=0.9), 3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(weight)
    speaker = TorchLanguageModel(model.train())
    assert divergence.measure_divergence(speaker, speaker, ASKED).whole == 0
