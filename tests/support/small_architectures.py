"""Small models of random weights whose attention differs: by window, by norm, by how positions enter."""

import copy

import torch
import transformers as tf

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}
LAYERS = ["sliding_attention", "full_attention"]
WINDOW = {"sliding_window": 4}
MIXED = {**WINDOW, "layer_types": LAYERS}
OWN_WIDTH = {name: value for name, value in SHAPE.items() if name != "head_dim"}  # heads divide the width
CONFIGS = {
    "llama": tf.LlamaConfig(**SHAPE),
    "mistral": tf.MistralConfig(**SHAPE, **WINDOW),
    "qwen2": tf.Qwen2Config(**SHAPE, **WINDOW, use_sliding_window=True, max_window_layers=1),
    "qwen3": tf.Qwen3Config(**SHAPE),
    "gemma3": tf.Gemma3TextConfig(**SHAPE, **MIXED, query_pre_attn_scalar=16),
    "phi": tf.PhiConfig(**OWN_WIDTH),
    "phi3": tf.Phi3Config(**OWN_WIDTH, **WINDOW, pad_token_id=0),
    "gpt_neox": tf.GPTNeoXConfig(**OWN_WIDTH, rotary_pct=0.5),
    "opt": tf.OPTConfig(**OWN_WIDTH, ffn_dim=48, word_embed_proj_dim=32, init_std=0.3),
    "granite": tf.GraniteConfig(**OWN_WIDTH, attention_multiplier=0.3),
    "olmo2": tf.Olmo2Config(**OWN_WIDTH),
    "cohere": tf.CohereConfig(**OWN_WIDTH),
    "cohere2": tf.Cohere2Config(**SHAPE, **MIXED),
    "smollm3": tf.SmolLM3Config(**OWN_WIDTH, pad_token_id=0),
    "stablelm": tf.StableLmConfig(**OWN_WIDTH),
    "gpt2": tf.GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3),
    "gemma2": tf.Gemma2Config(**SHAPE, **MIXED, query_pre_attn_scalar=16, attn_logit_softcapping=2.0),
    "gpt_oss": tf.GptOssConfig(**SHAPE, **MIXED, num_local_experts=4, num_experts_per_tok=2),
    "llama4": tf.Llama4TextConfig(**SHAPE, attention_chunk_size=4, layer_types=["chunked_attention", "full_attention"],
                                  intermediate_size_mlp=48, interleave_moe_layer_step=3, no_rope_layers=[1, 0],
                                  pad_token_id=0),
    "falcon": tf.FalconConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=4),
    "bloom": tf.BloomConfig(vocab_size=97, hidden_size=32, n_layer=2, n_head=2, initializer_range=0.3),
    "mpt": tf.MptConfig(vocab_size=97, d_model=32, n_layers=2, n_heads=4, max_seq_len=64),
}  # fmt: skip
PADDED = ["stablelm", "gpt2", "gemma2", "gpt_oss", "llama4", "falcon", "bloom", "mpt"]  # their attention is more
PACKED = [name for name in CONFIGS if name not in PADDED]
ALIKE = ["llama", "mistral", "qwen3", "gemma3"]  # enough of them where a test is of packing itself


def random(name: str) -> tf.PreTrainedModel:
    """The same weights at every call, without dropout; sinks as large as those that were learned."""
    torch.manual_seed(0)
    config = copy.deepcopy(CONFIGS[name])
    model = tf.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for part in model.modules():
        if hasattr(part, "sinks"):
            torch.nn.init.normal_(part.sinks)
    return model
