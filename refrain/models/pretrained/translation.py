"""config.json as transformers 5 writes it, in the fields that the transformers used here reads."""

import inspect
import json
from pathlib import Path
from typing import Any

OUTSIDE = ("rope_theta", "partial_rotary_factor")  # said beside rope_scaling, not in it
ORIGINAL_CONTEXT = "original_max_position_embeddings"
UNREADABLE_NULLS = ("quantization_config", "auto_map")
RENAMED = {"qwen3_moe": {"num_local_experts": "num_experts"}}  # by family
NAMES = {  # what a family calls a field of its own
    "rope_theta": ("rope_theta", "rotary_emb_base"),
    "partial_rotary_factor": ("partial_rotary_factor", "rotary_pct"),
}


def read_translated(folder: Path) -> dict[str, Any]:
    """The fields of a folder's config.json in today's names."""
    values: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return translate(values)


def translate_file(path: Path) -> bool:
    """Whether a config.json needed to be translated, which it then is."""
    values = json.loads(path.read_text(encoding="utf-8"))
    if (today := translate(values)) == values:
        return False
    path.write_text(json.dumps(today, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return True


def translate(values: dict[str, Any]) -> dict[str, Any]:
    """The same config with rope_parameters said as rope_theta and rope_scaling; ValueError for what has no place there.

    A config without rope_parameters comes back as it is, but for a null that transformers trips over.
    """
    if any(name in values and values[name] is None for name in UNREADABLE_NULLS):
        values = {name: value for name, value in values.items() if value is not None or name not in UNREADABLE_NULLS}
    if values.get("rope_parameters") is None:
        return values
    renamed = RENAMED.get(str(values.get("model_type")), {})
    rest = {renamed.get(name, name): value for name, value in values.items() if name != "rope_parameters"}
    return {**rest, **rotary_fields(values["rope_parameters"], values.get("model_type"))}


def rotary_fields(parameters: Any, model_type: Any) -> dict[str, Any]:
    if not isinstance(parameters, dict):
        raise ValueError("config.json: rope_parameters is no object; repair it or fetch it again")
    if not any(isinstance(value, dict) for value in parameters.values()):
        return fields_of_one(parameters, model_type)
    if model_type != "gemma3_text" or not parameters.keys() <= {"full_attention", "sliding_attention"}:
        raise ValueError(
            f"config.json: rope_parameters differ by layer type ({', '.join(parameters)}), which "
            f"model_type={model_type} has no fields for here; choose a revision that transformers 4 wrote"
        )
    local = parameters.get("sliding_attention") or {}
    if rotary_type(local) != "default" or "rope_theta" not in local:
        raise ValueError(
            f"config.json: rope_parameters.sliding_attention is of type {rotary_type(local)}, and only a default "
            "with its rope_theta has a place here; choose a revision that transformers 4 wrote"
        )
    return {
        **fields_of_one(parameters.get("full_attention") or {}, model_type),
        "rope_local_base_freq": local["rope_theta"],
    }


def fields_of_one(parameters: dict[str, Any], model_type: Any) -> dict[str, Any]:
    """rope_theta, rope_scaling and, where it says something, the share of a head that turns."""
    if parameters.get("rope_theta") is None:
        raise ValueError("config.json: rope_parameters has no rope_theta; repair it or fetch it again")
    known = known_fields(model_type)
    fields: dict[str, Any] = {}
    for name in OUTSIDE:
        if parameters.get(name) is not None:
            own = next((own for own in NAMES[name] if own in known), None)
            if own is None and (name, parameters[name]) != ("partial_rotary_factor", 1.0):
                raise ValueError(
                    f"config.json: rope_parameters.{name}={parameters[name]} has no field in model_type={model_type} "
                    "here; choose a revision that transformers 4 wrote"
                )
            fields |= {} if own is None else {own: parameters[name]}
    scaling = {name: value for name, value in parameters.items() if name not in OUTSIDE and value is not None}
    if rotary_type(parameters) == "longrope" and ORIGINAL_CONTEXT in known:  # Phi-3 says these two in its own way
        fields[ORIGINAL_CONTEXT] = scaling.pop(ORIGINAL_CONTEXT, None)
        scaling["type"] = scaling.pop("rope_type")
    return {**fields, "rope_scaling": None if rotary_type(parameters) == "default" else scaling}


def rotary_type(parameters: dict[str, Any]) -> Any:
    return parameters.get("rope_type", parameters.get("type", "default"))


def known_fields(model_type: Any) -> dict[str, Any]:
    """The fields that a family's configuration takes by name, each with what it means where it is left out."""
    from transformers import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:
        raise ValueError(f"config.json: model_type={model_type} is no family of transformers; choose another model")
    parameters = inspect.signature(CONFIG_MAPPING[model_type].__init__).parameters
    return {name: parameter.default for name, parameter in parameters.items()}
