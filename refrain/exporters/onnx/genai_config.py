"""genai_config.json, by which onnxruntime-genai runs either graph as it is."""

import json
from pathlib import Path
from typing import Any

import onnx

from refrain.chat import model_folder, special_tokens
from refrain.runtime import onnx_folder

GENAI_CONFIG = "genai_config.json"
MAX_CONTEXT = 2**17  # tokens, also of a model that names no end: it keeps room for all of them
TOKEN_INPUTS = ("input_ids", "attention_mask", "position_ids")


def write_genai_config(folder: Path) -> None:
    """Describe the graph in `folder` to onnxruntime-genai; what ends a reply is what ends it for all others."""
    graph = onnx.load(folder / onnx_folder.GRAPH, load_external_data=False).graph
    inputs = {value.name: value.type.tensor_type.shape.dim for value in graph.input}
    keys = [dims for name, dims in inputs.items() if name.startswith("past_key_values.") and name.endswith(".key")]
    _, kv_heads, _, head_dim = keys[0]
    context = min(model_folder.read_context_length(folder), MAX_CONTEXT)
    model = {
        "type": "decoder",
        "context_length": context,
        "vocab_size": model_folder.read_config_number(folder, "vocab_size"),
        **read_token_ids(folder),
        "decoder": {
            "filename": onnx_folder.GRAPH,
            "head_size": head_dim.dim_value,
            "num_hidden_layers": len(keys),
            "num_key_value_heads": kv_heads.dim_value,
            "session_options": {"provider_options": []},
            "inputs": {name: name for name in TOKEN_INPUTS if name in inputs} | name_cache("past", "past_key_values"),
            "outputs": {"logits": "logits"} | name_cache("present", "present"),
        },
    }
    writes_in_place = any(node.op_type == "GroupQueryAttention" for node in graph.node)
    search = {"do_sample": False, "max_length": context, "past_present_share_buffer": writes_in_place}
    text = json.dumps({"model": model, "search": search}, indent=2)
    (folder / GENAI_CONFIG).write_text(text + "\n", encoding="utf-8")


def name_cache(field: str, prefix: str) -> dict[str, str]:
    """What the graph calls its keys and values; %d is the layer."""
    return {f"{field}_{kind}_names": f"{prefix}.%d.{kind}" for kind in ("key", "value")}


def read_token_ids(folder: Path) -> dict[str, Any]:
    """The ids of control tokens; a padding must be named, but is looked for in batches only: the end can be it."""
    stops = sorted(special_tokens.read_stop_ids(folder)[0])
    ids: dict[str, Any] = {"eos_token_id": stops}
    settings = [special_tokens.read_settings(folder, name) for name in special_tokens.STOPS]
    for name, default in (("bos_token_id", None), ("pad_token_id", stops[0] if stops else None)):
        number = next((found[name] for found in settings if found.get(name) is not None), default)
        if number is not None:
            ids[name] = number
    return ids
