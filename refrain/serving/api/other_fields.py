"""Fields of OpenAI's, vLLM's and llama.cpp's requests that are not honoured here, and what becomes of each.

Those that change no reply are ignored, and the answer names them; others pass with the value that changes nothing, and
are refused with any other.
"""

from typing import Any

ALIASES = {  # other servers' names for what is honoured
    "max_completion_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "repeat_penalty": "repetition_penalty",
}
IGNORED = frozenset(
    (
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prediction", "request_id", "priority"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "cache_prompt", "cache_salt"),
        *("timings_per_token", "return_progress", "id_slot", "slot_id", "n_keep", "n_cache_reuse"),
        *("guided_decoding_backend", "guided_whitespace_pattern", "samplers", "samplers_seq", "min_keep"),
    )
)
NEUTRAL: dict[str, tuple[Any, ...]] = {  # the values that change nothing; null never does
    # OpenAI
    "audio": (), "functions": ([],), "function_call": ("none",), "modalities": (["text"],), "moderation": (),
    "reasoning_effort": ("none",), "verbosity": ("medium",), "web_search_options": (),
    "best_of": (1,), "suffix": ("",),
    # vLLM
    "use_beam_search": (False,), "length_penalty": (1,), "early_stopping": (False,), "ignore_eos": (False,),
    "min_tokens": (0,), "stop_token_ids": ([],), "bad_words": ([],), "allowed_token_ids": ([],),
    "include_stop_str_in_output": (False,), "skip_special_tokens": (True,), "spaces_between_special_tokens": (True,),
    "prompt_logprobs": (), "return_token_ids": (False,), "return_tokens_as_token_ids": (False,), "documents": ([],),
    "chat_template": (), "chat_template_kwargs": ({},), "truncate_prompt_tokens": (), "guided_grammar": (),
    "logits_processors": ([],), "kv_transfer_params": (), "mm_processor_kwargs": ({},), "include_reasoning": (True,),
    # llama.cpp
    "typical_p": (1,), "mirostat": (0,), "mirostat_tau": (5,), "mirostat_eta": (0.1,), "repeat_last_n": (-1,),
    "dry_multiplier": (0,), "dry_base": (1.75,), "dry_allowed_length": (2,), "dry_penalty_last_n": (-1,),
    "dry_sequence_breakers": (), "xtc_probability": (0,), "xtc_threshold": (0.1,), "dynatemp_range": (0,),
    "dynatemp_exponent": (1,), "top_n_sigma": (-1,), "tfs_z": (1,), "n_probs": (0,), "n_indent": (0,), "grammar": ("",),
    "t_max_predict_ms": (0,), "penalize_nl": (False,), "post_sampling_probs": (False,), "return_tokens": (False,),
    "response_fields": ([],), "lora": ([],), "reasoning_format": ("none",), "thinking_forced_open": (False,),
    "parse_tool_calls": (True,),
}  # fmt: skip


def is_neutral(name: str, value: Any) -> bool:
    """Whether a field of that name changes nothing with this value."""
    return value is None or any(type(value) is type(other) and value == other for other in numbers(NEUTRAL[name]))


def numbers(values: tuple[Any, ...]) -> list[Any]:
    """The values, whole numbers as fractions too: JSON has one kind."""
    whole = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    return [*values, *map(float, whole)]
