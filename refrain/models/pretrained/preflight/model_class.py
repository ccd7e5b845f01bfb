"""The configuration and the class that transformers has for a config.json."""

from copy import deepcopy
from typing import Any

from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, PretrainedConfig, PreTrainedModel


def build_config(values: dict[str, Any]) -> PretrainedConfig:
    """The configuration that the fields make; ValueError in one sentence where they make none."""
    family = str(values.get("model_type"))
    if family not in CONFIG_MAPPING:
        raise ValueError(f"config.json: model_type={family} is no family that transformers knows; choose another model")
    try:
        return CONFIG_MAPPING[family].from_dict(deepcopy(values))
    except Exception as error:  # each family checks its fields in its own way
        words = " ".join(str(error).split())
        raise ValueError(f"config.json: model_type={family} cannot be built of it ({words}); repair it") from error


def find_class(config: PretrainedConfig) -> type[PreTrainedModel]:
    """The class of the causal language model; ValueError where the family has none."""
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ValueError(
            f"config.json: model_type={config.model_type} is no causal language model; choose one that generates text"
        )
    classes: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    found: type[PreTrainedModel] = classes[0] if isinstance(classes, tuple) else classes
    return found
