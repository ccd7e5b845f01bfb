"""A model as it is published, and the ways in which it can be refused."""

import json

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models

ID = "owner/tiny-chat"
TAKEN = [
    "LICENSE",
    "README.md",
    "additional_chat_templates/tool_use.jinja",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
]
CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 64, "hidden_size": 64,
    "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 64,
}  # fmt: skip
PROJECTIONS = {"self_attn": "qkvo", "mlp": ("gate", "up", "down")}
MATRICES = ["embed_tokens", *(f"layers.0.{at}.{name}_proj" for at, names in PROJECTIONS.items() for name in names)]
NORMS = ["norm", "layers.0.input_layernorm", "layers.0.post_attention_layernorm"]
SHAPES = {"lm_head.weight": (64, 64), **{f"model.{name}.weight": (64, 64) for name in MATRICES},
          **{f"model.{name}.weight": (64,) for name in NORMS}}  # fmt: skip


def publish(root):
    """A repository as they are: the weights as a pickle and for another runtime too, a card, a picture."""
    folder = root / ID
    (folder / "onnx").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "generation_config.json").write_text('{"eos_token_id": 2}')
    # "auto_map" as a word of the vocabulary is no setting
    Tokenizer(models.WordLevel({"auto_map": 0, "é🌱": 1}, unk_token="é🌱")).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "chat_template.jinja").write_bytes("{{ messages }}\r\n🌱".encode())
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates/tool_use.jinja").write_text("{{ tools }}{{ messages }}")
    (folder / "LICENSE").write_text("Apache 2.0")
    (folder / "LICENSES").mkdir()
    (folder / "LICENSES" / "fonts.txt").write_text("OFL 1.1")
    (folder / "README.md").write_text("# Tiny chat")
    (folder / "bird.png").write_bytes(b"\x89PNG")
    weights(folder / "model.safetensors")
    weights(folder / "onnx" / "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    return folder


def weights(path, names=tuple(SHAPES)):
    rng = np.random.default_rng(7)
    save_file({name: rng.random(SHAPES[name], dtype=np.float32) for name in names}, path)


def sharded(folder):
    """The same tensors in two files and an index."""
    (folder / "model.safetensors").unlink()
    shards = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(SHAPES)}
    for shard in set(shards.values()):
        weights(folder / shard, [name for name in SHAPES if shards[name] == shard])
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def without(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def writing(name, text):
    return lambda folder: (folder / name).write_text(text)


def renaming(name, other):
    def change(folder):
        (folder / "pytorch_model.bin").unlink()
        (folder / name).rename(folder / other)

    return change


def pickled(name):
    """Weights in a pickle and nowhere else."""
    return lambda folder: (folder / "model.safetensors").rename(folder / name)


def indexed(weight_map):
    def change(folder):
        sharded(folder)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    return change


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def with_key(name, key):
    """A file that names somebody's code, deep inside."""
    return writing(name, json.dumps({"a": [{"b": {key: "someone/code"}}]}))


REFUSED = {
    "no config": (without("config.json"), ["config.json", "missing"]),
    "config is no JSON": (writing("config.json", "{"), ["config.json", "JSON"]),
    "config is no object": (writing("config.json", "[]"), ["config.json", "JSON object"]),
    "config nested without end": (writing("config.json", "[" * 100_000), ["config.json", "JSON"]),
    **{
        f"{key} in {name}": (with_key(name, key), [f"{name} has {key},"])
        for name in ("config.json", "tokenizer_config.json")
        for key in ("auto_map", "_attn_implementation_internal", "_attn_implementation")
    },
    "key in escapes": (writing("config.json", r'{"\u0061uto_map": 1}'), ["config.json", "auto_map"]),
    "no weights": (without("model.safetensors", "pytorch_model.bin"), ["no weights", "model.safetensors"]),
    "pytorch_model.bin": (without("model.safetensors"), ["pickle", "pytorch_model.bin"]),
    **{name: (pickled(name), ["pickle", name]) for name in ("a.pt", "a.pth", "a.ckpt", "a.pkl")},
    "gguf only": (renaming("model.safetensors", "model.gguf"), ["model.gguf", "cannot be trained"]),
    "adapter": (writing("adapter_config.json", "{}"), ["adapter_config.json", "merge it"]),
    "slow tokenizer only": (without("tokenizer.json"), ["tokenizer.json", "fast", "save_pretrained"]),
}
REFUSED_SHARDS = {
    "missing shard": (indexed({"a": "model-00003-of-00002.safetensors"}), ["index.json", "model-00003"]),
    "shard by a path": (indexed({"a": "../../../secret.safetensors"}), ["index.json", "../../../secret"]),
    "shard that is no weights": (indexed({"a": "pytorch_model.bin"}), ["index.json", "pytorch_model.bin"]),
    "shard that is a list": (indexed({"a": [1]}), ["index.json", "[1]"]),
    "no weight map": (indexed({}), ["index.json", "weight_map"]),
}
REFUSED_WEIGHTS = {
    "cut short": (cut, ["model.safetensors", "cut short"]),
    "empty": (writing("model.safetensors", ""), ["model.safetensors", "cut short"]),
    "no header": (writing("model.safetensors", "12345678{no"), ["model.safetensors", "not safetensors"]),
}
