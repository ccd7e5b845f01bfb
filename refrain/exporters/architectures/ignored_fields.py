"""Fields of config.json that change no logit of a trained model, known by a rule or by name."""

import re

RULES = re.compile(  # each of a whole name
    r".*_tokens?_ids?|.*_token_index|(bos|eos|pad|unk|sep|cls|mask|additional_special)_tokens?"  # ids and their texts
    r"|.*name_or_path|.*_version|(.*_)?dtype|.*commit_hash"  # where it came from
    r"|(.*_)?dropout(_prob)?|.*_pdrop|layerdrop|initializer_.*|init_(std|method|device|fn|scale)"  # training only
    r"|output_(attentions|hidden_states|scores|logits|router_logits|past)|return_dict.*|use_cache|cache_.*|summary_.*"
    r"|.*tokenizer.*|processor_class|padding_side|truncation_side|chat_template|.*gradient_checkpointing.*"
    r"|(unsloth|axolotl|mergekit|onnx)_.*|transformers\.js_config|.*_loss_(coef|weight)|z_loss.*"
)
NAMES = """
    architectures model_type prefix vocab_file id2label label2id num_labels _num_labels problem_type finetuning_task
    task_specific_params language languages license tags
    model_max_length max_sequence_length max_seq_length max_seq_len seq_length

    max_length min_length max_new_tokens do_sample early_stopping num_beams num_beam_groups diversity_penalty
    temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size bad_words_ids
    encoder_no_repeat_ngram_size num_return_sequences remove_invalid_values exponential_decay_length_penalty
    suppress_tokens begin_suppress_tokens chat_format

    chunk_size_feed_forward torchscript tf_legacy_loss use_bfloat16 fp16 bf16 fp32 base_model_tp_plan pretraining_tp
    tensor_parallel_size use_flash_attn use_flash_attention use_flash_attention_2 use_flash_attn_2 flash_attn
    _flash_attn_2_enabled attn_implementation _attn_implementation_autoset use_fused_rms_norm use_fused_mlp fused_mlp
    fused_bias_fc use_kernels use_liger_kernel pad_vocab_size_multiple classifier_bias loss_type neftune_noise_alpha
    label_smoothing

    n_ctx n_special predict_special_tokens is_llama_config rope_interleaved reorder_and_upcast_attn is_decoder
    is_encoder_decoder tie_encoder_decoder attention_softmax_in_fp32 scale_attention_softmax_in_fp32
"""  # who it is; generation, which generation_config.json settles; training; what modelling code has ceased to read
IGNORED_FIELDS = frozenset(NAMES.split())


def is_ignored(name: str) -> bool:
    """Whether a field means nothing to the logits of a trained model, whatever its value and its family."""
    return name in IGNORED_FIELDS or RULES.fullmatch(name) is not None
