"""Families of models that the compact graph can draw: from config.json and weights to a Decoder.

A family is one function here and its name in FAMILIES. It takes every field of config.json that has a meaning; whatever
it did not take, and fields.MUTE does not list, is refused by name, and so is every weight that it did not read.
"""

from refrain.export.architectures.components import read_activation, read_head, read_layer_norm
from refrain.export.architectures.decoder import Decoder, Layer, Linear
from refrain.export.architectures.model_files import ConfigReader, TensorReader


def gpt2(fields: ConfigReader, weights: TensorReader) -> Decoder:
    """GPT-2 and DistilGPT-2: learned positions, biases everywhere, weights stored as [in, out]."""
    for name in ("vocab_size", "n_inner", "tie_word_embeddings"):
        fields.take(name, None)  # the weights say it
    fields.expect("scale_attn_weights", True)
    fields.expect("scale_attn_by_inverse_layer_idx", False)
    fields.expect("add_cross_attention", False)
    at = "transformer." if "transformer.wte.weight" in weights else ""
    heads, head_dim = fields.take("n_head"), fields.take("n_embd") // fields.take("n_head")
    return Decoder(
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        layers=fields.take("n_layer"),
        context=fields.take("n_positions"),
        epsilon=fields.take("layer_norm_epsilon"),
        scale=head_dim**-0.5,
        activation=read_activation(fields, "activation_function"),
        gated=False,
        table=(table := weights.read(f"{at}wte.weight")),
        table_scale=1.0,
        positions=weights.read(f"{at}wpe.weight"),
        layer=lambda i: gpt2_layer(weights, f"{at}h.{i}."),
        norm=read_layer_norm(weights, f"{at}ln_f"),
        head=read_head(weights, table),
    )


def gpt2_layer(weights: TensorReader, at: str) -> Layer:
    def linear(name: str) -> Linear:
        return Linear(weights.read(f"{at}{name}.weight").T, weights.read(f"{at}{name}.bias"))

    return Layer(
        before_attention=read_layer_norm(weights, f"{at}ln_1"),
        qkv=linear("attn.c_attn"),
        q_norm=None,
        k_norm=None,
        out=linear("attn.c_proj"),
        after_attention=None,
        before_mlp=read_layer_norm(weights, f"{at}ln_2"),
        up=linear("mlp.c_fc"),
        down=linear("mlp.c_proj"),
        after_mlp=None,
        frequencies=None,
        window=None,
    )
