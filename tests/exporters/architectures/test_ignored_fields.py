"""What is ignored has no say in a logit, and what has a say is never ignored."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, LlamaConfig

from refrain.exporters.architectures import families
from refrain.exporters.architectures.ignored_fields import is_ignored

LEFT_BEHIND = {  # by transformers 4 and 5, TRL, unsloth, axolotl, LLaMA-Factory, mergekit and optimum
    "_model_name_or_path": "a", "_name_or_path": "a", "name_or_path": "a", "_commit_hash": "a", "unk_token_id": 3,
    "additional_special_tokens": [], "eod_token_id": 1, "image_token_index": 5, "tokenizer_class": "T", "prefix": "",
    "unsloth_version": "2025.1", "unsloth_fixed": True, "transformers_version": "5.0.0", "torch_dtype": "float16",
    "dtype": "float32", "_pre_quantization_dtype": "bfloat16", "use_cache": False, "cache_implementation": "hybrid",
    "output_attentions": False, "output_hidden_states": False, "return_dict": True, "return_dict_in_generate": True,
    "model_max_length": 4096, "max_sequence_length": 4096, "max_length": 20, "do_sample": True, "temperature": 0.7,
    "top_p": 0.9, "id2label": {"0": "a"}, "label2id": {"a": 0}, "gradient_checkpointing": True, "pretraining_tp": 2,
    "attention_dropout": 0.1, "hidden_dropout_prob": 0.1, "layerdrop": 0.1, "initializer_factor": 1.0, "loss_type": "a",
    "transformers.js_config": {"dtype": "q4"}, "onnx_export": True, "chunk_size_feed_forward": 0, "torchscript": False,
}  # fmt: skip
MEANINGFUL = """
    rope_theta rope_scaling rope_parameters partial_rotary_factor rotary_pct head_dim hidden_size num_attention_heads
    num_key_value_heads num_hidden_layers sliding_window layer_types max_window_layers use_sliding_window hidden_act
    rms_norm_eps layer_norm_eps layer_norm_epsilon attn_logit_softcapping final_logit_softcapping logit_scale
    attention_multiplier residual_multiplier embedding_multiplier logits_scaling query_pre_attn_scalar qk_layernorm
    use_parallel_residual alibi use_qk_norm clip_qkv num_experts num_local_experts no_rope_layers attention_chunk_size
    quantization_config tie_word_embeddings scale_attn_by_inverse_layer_idx scale_attn_weights attention_bias
    _remove_final_layer_norm do_layer_norm_before use_bidirectional_attention vocab_size max_position_embeddings
    original_max_position_embeddings add_cross_attention apply_residual_connection_post_layernorm output_multiplier
    lm_head_multiplier scale_emb scale_depth dim_model_base attention_sink pruned_heads rope_local_base_freq
"""
READ_AND_HARMLESS = """
    attn_implementation _pre_quantization_dtype image_token_id init_std initializer_range is_decoder layerdrop
    num_labels output_attentions output_hidden_states pad_token_id problem_type reorder_and_upcast_attn use_cache
"""  # by transformers' modelling code: to start, to classify, to say what comes back; and dropout
TRANSFORMERS = Path(importlib.util.find_spec("transformers").origin).parent


@pytest.fixture
def llama(tmp_path):
    shape = {"vocab_size": 90, "hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 1,
             "num_attention_heads": 2}  # fmt: skip
    AutoModelForCausalLM.from_config(LlamaConfig(**shape)).save_pretrained(tmp_path)
    return tmp_path


def test_fields_that_other_programs_leave_behind_do_not_keep_a_model_from_being_drawn(llama):
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps(config | LEFT_BEHIND))
    families.require_drawable(llama)


@pytest.mark.parametrize("name", MEANINGFUL.split())
def test_a_field_with_a_meaning_is_never_ignored(name):
    assert not is_ignored(name)


def test_what_modelling_code_reads_is_ignored_only_where_it_changes_no_logit():
    folders = {"gemma3_text": "gemma3"}
    sources = [f"models/{folders.get(f, f)}/modeling_{folders.get(f, f)}.py" for f in families.FAMILIES]
    general = ["modeling_rope_utils.py", "masking_utils.py", "cache_utils.py"]
    text = "\n".join((TRANSFORMERS / path).read_text() for path in [*sources, *general])
    names = set(re.findall(r"config\.(\w+)", text)) | set(re.findall(r'getattr\([\w.]*config, "(\w+)"', text))
    ignored = {name for name in names if is_ignored(name)}
    assert {"rope_theta", "sliding_window", "residual_multiplier", "use_cache"} <= names
    assert {n for n in ignored if not re.search("dropout|pdrop|summary_", n)} <= set(READ_AND_HARMLESS.split())
