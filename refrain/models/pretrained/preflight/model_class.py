"""The configuration and the class that transformers has for a config.json."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, PretrainedConfig, PreTrainedModel
from transformers.utils import logging


def build_config(values: dict[str, Any]) -> PretrainedConfig:
    """The configuration that the fields make; ValueError in one sentence where they make none."""
    family = str(values.get("model_type", "(missing)"))
    if family not in CONFIG_MAPPING:
        raise ValueError(f"config.json: model_type={family} is no family that transformers knows; choose another model")
    try:
        with quiet():
            return CONFIG_MAPPING[family].from_dict(deepcopy(values))
    except Exception as error:  # each family checks its fields in its own way
        raise ValueError(explain(error, family)) from error


def find_class(config: PretrainedConfig) -> type[PreTrainedModel]:
    """The class of the causal language model; ValueError where the family has none."""
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ValueError(
            f"config.json: model_type={config.model_type} is no causal language model; choose one that generates text"
        )
    classes: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    found: type[PreTrainedModel] = classes[0] if isinstance(classes, tuple) else classes
    return found


def explain(error: Exception, family: str) -> str:
    """What a family's own code says of a config.json, as our sentence."""
    words = " ".join(str(error).split())
    return f"config.json: no {family} can be built of it ({type(error).__name__}: {words}); repair the file"


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' warnings: what they say is said as obstacles."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
