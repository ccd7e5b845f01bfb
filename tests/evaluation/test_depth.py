"""A deep model with large logits, which no absolute bar lets pass: right links do, wrong ones do not."""

import json

import numpy as np
import pytest
import torch
from adapted_models import LORA
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from refrain.chat import model_folder
from refrain.evaluation import divergence, parity, verdict
from refrain.exporters.onnx import exporter
from refrain.models.pytorch import language_model, loading
from refrain.models.pytorch.language_model import TorchLanguageModel
from refrain.runtime import loading as runtime

LIMIT = 1e-3  # of conf/
PROMPTS = [[5, 7, 200] * 12, [9], list(range(5, 60))]


@pytest.fixture(scope="module")
def deep(base, talk, tmp_path_factory):
    """The folders of a base of 24 layers, of an adapter on it, and of their merge."""
    folders = [tmp_path_factory.mktemp(name) for name in ("base", "adapter", "merged")]
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(
        vocab_size=294, hidden_size=128, intermediate_size=256, num_hidden_layers=24, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.3, bos_token_id=0, eos_token_id=2,
        tie_word_embeddings=True,
    )).save_pretrained(folders[0])  # fmt: skip
    model = loading.build_trainable(folders[0], LORA, 3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.01)
    loading.save_pretrained(model, folders[1])
    loading.save_for_serving(loading.merge_adapter(loading.load_finetuned(*folders[:2])), talk.stop_ids, folders[2])
    for folder in folders:
        model_folder.copy_tokenizer(base, folder, talk.template)
    return folders


def test_a_right_merge_is_as_near_as_rounding_and_a_wrong_one_is_not(deep, tmp_path):
    base, adapter, merged = deep
    adapted = TorchLanguageModel(loading.load_finetuned(base, adapter))
    rounding = divergence.measure_rounding(adapted, PROMPTS)
    right = divergence.measure_divergence(adapted, TorchLanguageModel(loading.load_pretrained(merged)), PROMPTS)
    absolute = right.whole * divergence.sequence_logits(adapted, PROMPTS[0]).std(-1).min()
    assert absolute > 1e-4 and right.top1 == 1 and rounding.whole / 3 < right.whole < 5 * rounding.whole
    divergence.require_equal(right, rounding.whole, LIMIT)
    weights = load_file(merged / "model.safetensors")
    save_file({name: weight.bfloat16().float() for name, weight in weights.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((merged / "config.json").read_text())
    wrong = divergence.measure_divergence(adapted, TorchLanguageModel(loading.load_pretrained(tmp_path)), PROMPTS)
    with pytest.raises(ValueError, match=r"^merged: its logits differ .* allows 0\.001"):
        divergence.require_equal(wrong, rounding.whole, LIMIT)


def test_float64_for_a_while_is_the_model_in_float64_whatever_the_pieces_of_the_head(deep, monkeypatch):
    monkeypatch.setattr(language_model, "WIDE_BYTES", 8 * 128 * 100)  # the 294 rows of the head in three pieces
    lm, whole = (TorchLanguageModel(loading.load_pretrained(deep[2])) for _ in range(2))
    before = divergence.sequence_logits(lm, PROMPTS[0])
    with lm.in_float64() as exact:
        wide = divergence.sequence_logits(exact, PROMPTS[0])
    whole.model.double()
    np.testing.assert_allclose(wide, divergence.sequence_logits(whole, PROMPTS[0]), rtol=0, atol=1e-9)
    assert wide.dtype == np.float64 and np.array_equal(divergence.sequence_logits(lm, PROMPTS[0]), before)


@pytest.mark.heavy
def test_a_right_export_passes_and_one_with_another_rope_base_does_not(deep, talk, rows, settings, tmp_path):
    merged, variant = deep[2], settings.variants["fp32"]
    reference = TorchLanguageModel(loading.load_pretrained(merged))
    prompts = parity.parity_prompts(reference, talk, rows[:4], 256, settings)
    exporter.export_variant(merged, tmp_path / "fp32", variant.weights, "compact", 18)
    proof = parity.measure_parity(reference, runtime.load_model(tmp_path / "fp32"), prompts, settings)
    assert verdict.judge_variant("fp32", variant.thresholds, proof).fails == [] and proof.whole > 1e-5
    config = json.loads((merged / "config.json").read_text())
    (merged / "config.json").write_text(json.dumps(config | {"rope_theta": 10100.0}))
    exporter.export_variant(merged, tmp_path / "wrong", variant.weights, "compact", 18)
    (merged / "config.json").write_text(json.dumps(config))
    proof = parity.measure_parity(reference, runtime.load_model(tmp_path / "wrong"), prompts, settings)
    first, *_ = verdict.judge_variant("fp32", variant.thresholds, proof).fails
    assert first.startswith("fp32: its whole logits differ from the merged model's by ")


def test_the_model_is_what_it_was_after_it_computed_in_float64(deep):
    model = TorchLanguageModel(loading.load_finetuned(*deep[:2]))
    before = {name: weight.clone() for name, weight in model.model.state_dict().items()}
    logits = divergence.sequence_logits(model, PROMPTS[0])
    with model.in_float64() as exact:
        exact_logits = divergence.sequence_logits(exact, PROMPTS[0])
    assert exact_logits.dtype == np.float64 and logits.dtype == np.float32
    after = model.model.state_dict()
    assert all(
        torch.equal(weight, after[name]) and weight.dtype == after[name].dtype for name, weight in before.items()
    )
    assert np.array_equal(divergence.sequence_logits(model, PROMPTS[0]), logits)
