"""The compact graph says what PyTorch says, family by family, and refuses what it cannot draw."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
    StableLmConfig,
    Starcoder2Config,
)

from refrain.exporters.architectures import families
from refrain.exporters.onnx import graph
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.runtime import loading

SHAPE = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 96,
    "initializer_range": 0.15,  # at the usual 0.02 a random model says the same whatever it reads
}
WIDE = SHAPE | {"hidden_size": 128}  # heads of 32, of which a half is enough for the operator to turn
WITHOUT_GROUPS = {name: value for name, value in WIDE.items() if name != "num_key_value_heads"}
OPT_SHAPE = {
    "vocab_size": 300, "hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "max_position_embeddings": 96, "word_embed_proj_dim": 64, "init_std": 0.15,
}  # fmt: skip
STRETCHED = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CONFIGS = {
    "llama": LlamaConfig(**SHAPE, head_dim=32, tie_word_embeddings=True),  # heads wider than hidden size / heads
    "llama, biased, own head": LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True, tie_word_embeddings=False),
    "llama 3, stretched": LlamaConfig(**SHAPE, rope_scaling=STRETCHED, rope_theta=500.0),
    "llama, linear": LlamaConfig(**SHAPE, rope_scaling={"rope_type": "linear", "factor": 2.0}),
    "mistral, window": MistralConfig(**SHAPE, sliding_window=7),
    "qwen2": Qwen2Config(**SHAPE, tie_word_embeddings=True),
    "qwen2, window": Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=9, max_window_layers=1),
    "qwen3": Qwen3Config(**SHAPE, head_dim=16),
    "gemma3": Gemma3TextConfig(
        **SHAPE, head_dim=32, sliding_window=8, query_pre_attn_scalar=40, rope_theta=900.0, rope_local_base_freq=50.0,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "gpt2": GPT2Config(vocab_size=300, n_embd=64, n_layer=3, n_head=4, n_positions=96, initializer_range=0.15),
    "gpt2, relu": GPT2Config(
        vocab_size=300, n_embd=64, n_layer=2, n_head=2, n_positions=96, initializer_range=0.15, n_inner=80,
        activation_function="relu",
    ),
    "gemma": GemmaConfig(**SHAPE, head_dim=32),
    "gemma2": Gemma2Config(
        **SHAPE, head_dim=32, sliding_window=8, query_pre_attn_scalar=40, attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    "gemma3, bent, by pattern": Gemma3TextConfig(
        **SHAPE, head_dim=32, sliding_window=8, sliding_window_pattern=2, final_logit_softcapping=3.0
    ),
    "phi": PhiConfig(**WIDE),
    "phi3, window, half turned": Phi3Config(**WIDE, pad_token_id=0, sliding_window=7, partial_rotary_factor=0.5),
    "granite": GraniteConfig(
        **SHAPE, embedding_multiplier=12.0, attention_multiplier=0.3, residual_multiplier=0.2, logits_scaling=0.5
    ),
    "olmo2": Olmo2Config(**SHAPE),
    "stablelm": StableLmConfig(**WIDE, partial_rotary_factor=0.5, use_qkv_bias=True),
    "stablelm, parallel": StableLmConfig(**WIDE, partial_rotary_factor=0.5, use_parallel_residual=True),
    "gpt_neox": GPTNeoXConfig(**WITHOUT_GROUPS, rotary_pct=0.5),
    "gpt_neox, one after the other": GPTNeoXConfig(
        **WITHOUT_GROUPS, rotary_pct=1.0, use_parallel_residual=False, attention_bias=False
    ),
    "gpt_neox, a little turned": GPTNeoXConfig(**WITHOUT_GROUPS, rotary_pct=0.25),
    "llama, heads that the operator refuses": LlamaConfig(**SHAPE, head_dim=20, attention_bias=True),
    "gpt2, heads that the operator refuses": GPT2Config(
        vocab_size=300, n_embd=48, n_layer=2, n_head=4, n_positions=96, initializer_range=0.15
    ),
    "cohere, neighbours turn": CohereConfig(**SHAPE, logit_scale=1.5),
    "smollm3": SmolLM3Config(**SHAPE, pad_token_id=0, no_rope_layer_interval=2),
    "smollm3, windows where nothing turns": SmolLM3Config(
        **SHAPE, pad_token_id=0, no_rope_layers=[1, 0, 1], use_sliding_window=True, sliding_window=6
    ),
    "starcoder2": Starcoder2Config(**SHAPE, sliding_window=9),
    "gpt_neo": GPTNeoConfig(
        vocab_size=300, hidden_size=64, num_layers=4, num_heads=4, max_position_embeddings=96, window_size=7,
        attention_types=[[["global", "local"], 2]], initializer_range=0.15,
    ),
    "opt": OPTConfig(**OPT_SHAPE, activation_function="gelu"),
    "llama, yarn": LlamaConfig(
        **SHAPE, rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24}
    ),
    "llama, yarn by the letter": LlamaConfig(
        **SHAPE, rope_scaling={"rope_type": "yarn", "factor": 4.0, "mscale": 0.7, "mscale_all_dim": 1.2}
    ),
}  # fmt: skip
PLAIN = QuantizationConfig(bits=32)
IDS = np.random.default_rng(0).integers(0, 300, (1, 61))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A function that saves a random model of a configuration, once, and gives its folder."""
    made = {}

    def save(name):
        if name not in made:
            torch.manual_seed(0)
            made[name] = tmp_path_factory.mktemp("model")
            model = AutoModelForCausalLM.from_config(CONFIGS[name])
            for parameter in model.parameters():  # biases and norms that are not all zeros or ones
                if parameter.dim() == 1:
                    parameter.data += 0.1 * torch.randn_like(parameter)
            model.save_pretrained(made[name])
        return made[name]

    return save


@pytest.fixture
def drawn(folder, tmp_path):
    """A function that draws a model and opens it."""

    def draw(name, precision=PLAIN):
        source = folder(name) if isinstance(name, str) else name
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        out.mkdir()
        graph.write_graph(source, out, precision)
        (out / "config.json").write_bytes((source / "config.json").read_bytes())
        return out

    return draw


def expected(folder, ids=IDS):
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(torch.from_numpy(ids)).logits.numpy()


def whole(lm, ids=IDS, keep=0):
    return lm.forward(ids, np.ones_like(ids), None, keep)[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_family_has_the_logits_of_pytorch(name, folder, drawn):
    right = expected(folder(name))
    got = whole(loading.load_model(drawn(name)))
    assert got.shape == right.shape and right.std() > 0.1
    assert np.abs(got - right).max() < 1e-4


@pytest.mark.parametrize("name", CONFIGS)
def test_token_by_token_on_the_cache_they_are_the_same(name, folder, drawn):
    right = expected(folder(name))
    slots = loading.load_model(drawn(name)).allocate_slots(2)
    slots.prefill(1, IDS[0, :5])
    steps = [slots.prefill(0, IDS[0, :3], keep=3), *(slots.decode(IDS[:, at]) for at in range(3, IDS.shape[1]))]
    assert np.abs(np.concatenate(steps) - right[0]).max() < 1e-4


@pytest.mark.parametrize("precision, least", [
    (QuantizationConfig(bits=16), 0.9999),
    (QuantizationConfig(bits=8, block=32), 0.998),
    (QuantizationConfig(bits=8, block=32, head_bits=32), 0.999),
    (QuantizationConfig(bits=8, activations="token"), 0.998),
    (QuantizationConfig(bits=8, activations="token", head_bits=32), 0.998),
    (QuantizationConfig(bits=4, block=32, head_bits=8), 0.8),
])  # fmt: skip
@pytest.mark.parametrize("name", ["llama", "llama, biased, own head", "gemma3", "gpt2"])
def test_fewer_bits_say_nearly_the_same_in_less_space(name, precision, least, folder, drawn):
    full, small = drawn(name), drawn(name, precision)
    sizes = [(each / "model.onnx.data").stat().st_size for each in (full, small)]
    assert sizes[1] < sizes[0] * (0.95 if precision.head_bits == 32 else 0.75)
    right, got = expected(folder(name))[0], whole(loading.load_model(small))[0]
    assert least <= np.corrcoef(right.ravel(), got.ravel())[0, 1] < 1


@pytest.mark.parametrize("precision", [
    QuantizationConfig(bits=4, block=32, symmetric=False),
    QuantizationConfig(bits=4, block=64, symmetric=False, rounding="search"),
    QuantizationConfig(bits=8, block=16, symmetric=False, accuracy=0),
])  # fmt: skip
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_zero_points_reach_the_operators(precision, name, folder, drawn):
    out = drawn(name, precision)
    names = {each.name for each in onnx.load(out / "model.onnx", load_external_data=False).graph.initializer}
    assert {"table.zeros", "layers.0.qkv.zeros", "layers.1.down.zeros"} <= names
    assert np.corrcoef(expected(folder(name)).ravel(), whole(loading.load_model(out)).ravel())[0, 1] > 0.8


@pytest.mark.parametrize("precision, operator", [
    (QuantizationConfig(bits=8, block=32), "MatMulNBits"),
    (QuantizationConfig(bits=8, activations="token"), "MatMulIntegerToFloat"),
])  # fmt: skip
def test_every_weight_is_in_few_bits(precision, operator, drawn):
    for name in ("llama, biased, own head", "gpt2"):
        model = onnx.load(drawn(name, precision) / "model.onnx")
        operators = [node.op_type for node in model.graph.node]
        layers = sum(operator == "GroupQueryAttention" for operator in operators)
        assert "MatMul" not in operators and "FusedMatMul" not in operators
        assert operators.count(operator) == 4 * layers + 1


def test_a_tied_table_is_stored_once(drawn):
    by_token = QuantizationConfig(8, activations="token")
    for precision in (PLAIN, QuantizationConfig(8, 32), QuantizationConfig(4, 32), by_token):
        graph = onnx.load(drawn("llama", precision) / "model.onnx", load_external_data=False).graph
        tables = [each for each in graph.initializer if 300 * 64 in (np.prod(each.dims), 2 * np.prod(each.dims))]
        places = [{entry.key: entry.value for entry in table.external_data}["offset"] for table in tables]
        assert len(places) and len(set(places)) == 1
        gather = next(node for node in graph.node if "input_ids" in node.input and "Gather" in node.op_type)
        assert gather.input[0] in {table.name for table in tables}  # OpenVINO reads rows of a constant only


def test_who_does_not_say_where_gets_logits_after_the_last_token(drawn):
    session = onnxruntime.InferenceSession(drawn("qwen3") / "model.onnx")
    inputs = {value.name: value.shape for value in session.get_inputs()}
    assert "logits_at" not in inputs and {shape[0] for shape in inputs.values()} == {"batch_size"}
    past = {name: np.zeros((1, shape[1], 0, shape[3]), np.float32) for name, shape in inputs.items() if "past" in name}
    logits, *_ = session.run(None, {"input_ids": IDS[:1], "attention_mask": np.ones_like(IDS[:1]), **past})
    assert logits.shape[1] == session.get_outputs()[0].shape[1] == 1
    assert np.abs(logits[:, 0] - whole(loading.load_model(drawn("qwen3")))[:1, -1]).max() < 1e-4


def test_weights_tell_whether_the_head_is_tied_whatever_the_config_says(folder, drawn, tmp_path_factory):
    copy = tmp_path_factory.mktemp("lying")
    for file in folder("llama, biased, own head").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    right = expected(copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    assert np.abs(whole(loading.load_model(drawn(copy))) - right).max() < 1e-4


def test_the_same_weights_make_the_same_bytes(drawn):
    one, two = (drawn("qwen3", QuantizationConfig(4, 32, head_bits=8)) for _ in range(2))
    assert [(one / name).read_bytes() for name in ("model.onnx", "model.onnx.data")] == [
        (two / name).read_bytes() for name in ("model.onnx", "model.onnx.data")
    ]


@pytest.mark.parametrize("change, sentence", [
    ({"new_gate": True}, "config.json: new_gate has no meaning in the compact graph"),
    ({"partial_rotary_factor": 0.5}, "config.json: partial_rotary_factor=0.5 has no place in the compact graph"),
    ({"hidden_act": "swish2"}, "config.json: hidden_act=swish2 is none of silu, swish, gelu, "),
    ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "config.json: rope_scaling of type dynamic has no "
     "place in the compact graph, for it turns by the length of a conversation"),
    ({"rope_scaling": {"rope_type": "linear", "factor": 2, "beta": 1}}, "config.json: beta has no meaning"),
    ({"model_type": "phi9"}, "config.json: model_type=phi9 is no family of the compact graph: llama, mistral, "),
    ({"layer_types": ["linear_attention"] * 3}, "config.json: layer_types=linear_attention has no place"),
    ({"hidden_size": ...}, "config.json: hidden_size is missing"),
])  # fmt: skip
def test_what_it_cannot_draw_is_refused_by_name(change, sentence, folder, tmp_path):
    config = json.loads((folder("llama") / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))
    (tmp_path / "model.safetensors").write_bytes((folder("llama") / "model.safetensors").read_bytes())
    with pytest.raises(ValueError) as error:
        graph.write_graph(tmp_path, tmp_path, PLAIN)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("name", ["model.layers.0.self_attn.gate.weight", "model.layers.1.mlp.up_proj.bias"])
def test_a_weight_that_nothing_reads_is_refused_by_name(name, folder, tmp_path):
    tensors = load_file(folder("llama") / "model.safetensors") | {name: np.ones(64, dtype=np.float32)}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder("llama") / "config.json").read_bytes())
    with pytest.raises(ValueError, match=f"nothing in the compact graph reads {name}"):
        graph.write_graph(tmp_path, tmp_path, PLAIN)


def test_a_weight_that_is_missing_is_named(folder, tmp_path):
    tensors = load_file(folder("llama") / "model.safetensors")
    tensors.pop("model.layers.2.mlp.down_proj.weight")
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder("llama") / "config.json").read_bytes())
    with pytest.raises(ValueError, match=r"it has no model\.layers\.2\.mlp\.down_proj\.weight"):
        graph.write_graph(tmp_path, tmp_path, PLAIN)


def test_weights_in_several_files_are_read_as_one(folder, drawn, tmp_path_factory):
    out = tmp_path_factory.mktemp("sharded")
    AutoModelForCausalLM.from_pretrained(folder("qwen2")).save_pretrained(out, max_shard_size="50KB")
    assert len(list(out.glob("*.safetensors"))) > 2
    assert np.abs(whole(loading.load_model(drawn(out))) - expected(folder("qwen2"))).max() < 1e-4


def test_a_family_of_its_own_goes_to_the_other_exporter(tmp_path):
    config = BloomConfig(vocab_size=99, hidden_size=16, n_layer=1, n_head=2)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model_type=bloom is no family of the compact graph"):
        graph.write_graph(tmp_path, tmp_path, PLAIN)


@pytest.mark.parametrize("name", CONFIGS)
def test_headers_alone_tell_that_a_model_can_be_drawn(name, folder, tmp_path):
    for file in folder(name).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with (tmp_path / "model.safetensors").open("r+b") as weights:
        header = 8 + int.from_bytes(weights.read(8), "little")
        size = weights.seek(0, 2)
        weights.truncate(header)
        weights.truncate(size)  # every value is lost, every shape is there
    families.require_drawable(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"vocab_size": 301}))
    with pytest.raises(ValueError, match=r"shape of the embedding is \[300, \d+\], config.json promises \[301, "):
        families.require_drawable(tmp_path)


def test_heads_that_the_operator_refuses_and_that_are_normed_are_refused_before(tmp_path):
    AutoModelForCausalLM.from_config(Qwen3Config(**SHAPE, head_dim=24)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="heads of 24 numbers that are normed have no place in the compact graph"):
        families.require_drawable(tmp_path)
